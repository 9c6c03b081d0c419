"""The process that jobs are forked from; `voicebus.chassis.forks` is the client's side.

What is slow to load is loaded once, here, and never used here. Each job gets a fork of this pristine process, ready
after a few milliseconds: the same input gives the same output whatever was done before, a crash ends one job only, and
memory comes back.

The standard input is a Unix stream socket. First one message goes to the client: `READY` with what it wants to know
of what was loaded, or `FAILED` with the reason. Then each byte that comes carries a socket (SCM_RIGHTS): the fork and
the client send each other messages over it. An end of file instead of a message means that the fork crashed. When the
client closes its socket or dies, so end the job and, with its own socket, the server: nobody has to be killed, and
nobody stays behind.

Forks inherit all that is imported: this module takes little from the standard library and nothing else.
"""

import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

Job = Callable[[socket.socket], None]  # serves one client in a fork; ends when the client's end is closed

HEADER = struct.Struct(">cI")  # kind, bytes that follow
READY, FAILED = b"R", b"F"


def message(kind: bytes, content: bytes = b"") -> bytes:
    """One message, as it is sent; the kind is one byte."""
    return HEADER.pack(kind, len(content)) + content


def messages(connection: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each message that comes, until the other end is closed."""
    with connection.makefile("rb") as stream:
        while len(header := stream.read(HEADER.size)) == HEADER.size:
            kind, length = HEADER.unpack(header)
            content = stream.read(length)
            if len(content) < length:
                return
            yield kind, content


def refuse(reason: str) -> NoReturn:
    """Tells the client why nothing was loaded, and exits with 1."""
    with _client() as control:
        control.sendall(message(FAILED, reason.encode()))
    sys.exit(1)


def serve(job: Job, *, greeting: bytes = b"") -> None:
    """Tells the client that all is loaded, then runs `job` in a fork for each socket that comes, until it closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the forks
    with _client() as control:
        control.sendall(message(READY, greeting))
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(control, 1, 1)
            except OSError:
                return
            if not data:
                return
            for descriptor in descriptors:
                with socket.socket(fileno=descriptor) as connection:
                    _fork(control, connection, job)


def _client() -> socket.socket:
    return socket.socket(fileno=sys.stdin.fileno())


def _fork(control: socket.socket, connection: socket.socket, job: Job) -> None:
    try:
        process = os.fork()
    except OSError:
        return  # no memory or too many processes: the client finds its socket closed
    if process == 0:
        try:
            control.close()
            job(connection)
        finally:
            os._exit(0)  # whatever happened: what is the server's to do at its end is not done twice
