"""What the fork server and its client say to each other."""

import struct

READY = b"R"
AUDIO, SETTLE, FINISH = b"A", b"S", b"F"
REQUEST = struct.Struct(">cI")  # kind, bytes that follow
ANSWER = struct.Struct(">I")  # bytes that follow
