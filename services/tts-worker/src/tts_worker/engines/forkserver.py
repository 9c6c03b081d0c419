"""The process that speech is forked from: `python -m tts_worker.engines.forkserver ENGINE VOICE-AS-JSON`.

espeak-ng and flite aren't thread-safe, and what they say depends on what they said before. So the library is loaded
once here, never used here, and each text gets a fork of this pristine process: a few milliseconds, the same bytes for
the same text in each process, and a crash ends one text only.

The standard input is a Unix stream socket. First one message goes to the client: `READY` with the sample rate, or
`FAILED` with the reason. Then each byte that comes carries a socket (SCM_RIGHTS), on which one text is spoken: the
client sends a `TEXT`, gets `AUDIO` …, and `END` or `FAILED`. An end of file instead of these means that the fork
crashed. As soon as the client shuts down or dies, the fork exits; when the server's own socket ends, so does the
server. Nobody has to be killed, and nobody stays behind, however the client ended.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from tts_worker.engines.engine import EngineError, Voice

HEADER = struct.Struct(">cI")  # kind, bytes that follow
SAMPLE_RATE = struct.Struct(">I")
READY, FAILED, TEXT, AUDIO, END = b"R", b"F", b"T", b"A", b"E"


class Synthesiser(Protocol):
    """A loaded library that speaks one text."""

    sample_rate: int

    def synthesise(self, text: str, write: Callable[[bytes], None]) -> None:
        """Call `write` with each piece of audio; return soon after it raised an `OSError`."""


def message(kind: bytes, content: bytes = b"") -> bytes:
    """Return one message of the protocol."""
    return HEADER.pack(kind, len(content)) + content


def load(engine: str, voice: Voice) -> Synthesiser:
    """Load an engine's library. Raises `EngineError`."""
    if engine == "espeak":
        from tts_worker.engines.espeak import Espeak  # noqa: PLC0415 - only the chosen engine's libraries are loaded

        return Espeak(voice)
    if engine == "flite":
        from tts_worker.engines.flite import Flite  # noqa: PLC0415 - only the chosen engine's libraries are loaded

        return Flite(voice)
    raise EngineError(f"no engine {engine!r}")


def serve(control: socket.socket, synthesiser: Synthesiser) -> None:
    """Fork for each socket that comes, until the client's end is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the forks
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        except OSError:
            return
        if not data:
            return
        for descriptor in descriptors:
            with socket.socket(fileno=descriptor) as connection:
                _fork(control, connection, synthesiser)


def _fork(control: socket.socket, connection: socket.socket, synthesiser: Synthesiser) -> None:
    try:
        process = os.fork()
    except OSError:
        return  # no memory or too many processes: the client finds its socket closed
    if process == 0:
        try:
            control.close()
            _speak(connection, synthesiser)
        finally:
            os._exit(0)


def _speak(connection: socket.socket, synthesiser: Synthesiser) -> None:
    text = _receive_text(connection)
    threading.Thread(target=_exit_with_client, args=[connection], daemon=True).start()
    try:
        synthesiser.synthesise(text, lambda audio: connection.sendall(message(AUDIO, audio)))
    except EngineError as error:
        connection.sendall(message(FAILED, str(error).encode()))
    else:
        connection.sendall(message(END))


def _receive_text(connection: socket.socket) -> str:
    with connection.makefile("rb") as stream:
        _, length = HEADER.unpack(stream.read(HEADER.size))
        return stream.read(length).decode()


def _exit_with_client(connection: socket.socket) -> None:
    """Exit when the client shuts down its end, at once: while it works, the library doesn't hold the interpreter."""
    try:
        connection.recv(1)
    finally:
        os._exit(0)


def main() -> int:
    """Load the engine named in the arguments and serve it on the standard input."""
    engine, voice = sys.argv[1:]
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        try:
            synthesiser = load(engine, Voice(**json.loads(voice)))
        except EngineError as error:
            control.sendall(message(FAILED, str(error).encode()))
            return 1
        control.sendall(message(READY, SAMPLE_RATE.pack(synthesiser.sample_rate)))
        serve(control, synthesiser)
    return 0


if __name__ == "__main__":
    sys.exit(main())
