"""The process that speech is forked from: `python -m tts_worker.engines.forkserver ENGINE VOICE-AS-JSON`.

`voicebus.chassis.forkserver` says how it starts and ends, and why; here also because espeak-ng and flite aren't
thread-safe, and what they say depends on what they said before. It greets with the sample rate. A fork speaks one text:
it gets `TEXT` and sends `AUDIO` …, and `END` or `FAILED`. When its client shuts down or dies, it exits, also in the
middle of a synthesis.
"""

import json
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from tts_worker.engines.engine import EngineError, Voice
from voicebus.chassis.forkserver import FAILED, message, messages, refuse, serve

SAMPLE_RATE = struct.Struct(">I")
TEXT, AUDIO, END = b"T", b"A", b"E"


class Synthesiser(Protocol):
    """A loaded library that speaks one text."""

    sample_rate: int

    def synthesise(self, text: str, write: Callable[[bytes], None]) -> None:
        """Call `write` with each piece of audio; return soon after it raised an `OSError`."""


def load(engine: str, voice: Voice) -> Synthesiser:
    """Load an engine's library. Raises `EngineError`."""
    if engine == "espeak":
        from tts_worker.engines.espeak import Espeak  # noqa: PLC0415 - only the chosen engine's libraries are loaded

        return Espeak(voice)
    if engine == "flite":
        from tts_worker.engines.flite import Flite  # noqa: PLC0415 - only the chosen engine's libraries are loaded

        return Flite(voice)
    raise EngineError(f"no engine {engine!r}")


def speak(connection: socket.socket, synthesiser: Synthesiser) -> None:
    """Speak one text."""
    _, text = next(messages(connection))
    threading.Thread(target=_exit_with_client, args=[connection], daemon=True).start()
    try:
        synthesiser.synthesise(text.decode(), lambda audio: connection.sendall(message(AUDIO, audio)))
    except EngineError as error:
        connection.sendall(message(FAILED, str(error).encode()))
    else:
        connection.sendall(message(END))


def _exit_with_client(connection: socket.socket) -> None:
    """Exit when the client shuts down its end, at once: while it works, the library doesn't hold the interpreter."""
    try:
        connection.recv(1)
    finally:
        os._exit(0)


def main() -> None:
    """Load the engine named in the arguments and serve it on the standard input."""
    engine, voice = sys.argv[1:]
    try:
        synthesiser = load(engine, Voice(**json.loads(voice)))
    except EngineError as error:
        refuse(str(error))
    serve(lambda connection: speak(connection, synthesiser), greeting=SAMPLE_RATE.pack(synthesiser.sample_rate))


if __name__ == "__main__":
    main()
