"""A process that tests fork from: `python -m integration.chassis.fork_server HOW`."""

import os
import signal
import socket
import sys

from voicebus.chassis.forkserver import message, messages, refuse, serve

heard: list[bytes] = []


def remember(connection: socket.socket) -> None:
    """Answers each message with all that came so far."""
    for kind, content in messages(connection):
        heard.append(content)
        connection.sendall(message(kind, b"".join(heard)))


def fail(connection: socket.socket) -> None:
    next(messages(connection))
    raise ValueError("a job with a bug")


def fail_to_fork_once() -> None:
    fork = os.fork

    def fail() -> int:
        os.fork = fork
        raise OSError("Cannot allocate memory")

    os.fork = fail


def main() -> None:
    match sys.argv[1]:
        case "remembering":
            serve(remember, greeting=b"hello")
        case "failing":
            serve(fail)
        case "short-of-memory":
            fail_to_fork_once()
            serve(remember)
        case "refusing":
            refuse("there is no voice")
        case "hanging":
            signal.pause()
        case "ending":
            pass


if __name__ == "__main__":
    main()
