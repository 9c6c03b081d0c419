"""The kinds of messages between the recogniser's forks and their client."""

AUDIO, SETTLE, FINISH = b"A", b"S", b"F"
ANSWER = b"T"
