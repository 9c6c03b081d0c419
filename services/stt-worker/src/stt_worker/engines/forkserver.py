"""The process that recognisers are forked from: `python -m stt_worker.engines.forkserver`.

The models are loaded once, here, and never used here. Each utterance gets a fork of this pristine process, ready after
a few milliseconds: the same audio gives the same text whatever was decoded before, a crash ends one utterance only,
and memory comes back.

The standard input is a Unix stream socket. First one byte, `READY`, goes to the client. Then each byte that comes
carries a socket (SCM_RIGHTS) over which one utterance is recognised. Messages there have a kind and a length; answers
are JSON with a length. `AUDIO` is answered with the text so far, `FINISH` with the transcript, `SETTLE` not at all.
An end of file instead of an answer means that the fork crashed. When the client closes its socket or dies, so end the
fork and, with its own socket, the server; one that hangs ends at its limit of CPU time: nobody stays behind.
"""

import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any

from stt_worker.engines.recogniser import Recogniser
from stt_worker.engines.wire import ANSWER, AUDIO, READY, REQUEST, SETTLE

CPU_MAX_S = 60  # of one utterance: several times what the longest one takes


def serve(control: socket.socket, recogniser: Recogniser) -> None:
    """Forks for each socket that comes, until the client's end is closed."""
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
                _fork(control, connection, recogniser)


def _fork(control: socket.socket, connection: socket.socket, recogniser: Recogniser) -> None:
    try:
        process = os.fork()
    except OSError:
        return  # no memory or too many processes: the client finds its socket closed
    if process == 0:
        try:
            control.close()
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_MAX_S, CPU_MAX_S))
            recognise(connection, recogniser)
        except OSError:
            pass  # the client has gone
        finally:
            os._exit(0)


def recognise(connection: socket.socket, recogniser: Recogniser) -> None:
    """Serves one utterance."""
    with connection.makefile("rb") as requests:
        while len(header := requests.read(REQUEST.size)) == REQUEST.size:
            kind, length = REQUEST.unpack(header)
            content = requests.read(length)
            if kind == AUDIO:
                _answer(connection, recogniser.feed(content))
            elif kind == SETTLE:
                recogniser.settle()
            else:
                _answer(connection, asdict(recogniser.finish()))


def _answer(connection: socket.socket, content: Any) -> None:
    body = json.dumps(content).encode()
    connection.sendall(ANSWER.pack(len(body)) + body)


def main() -> None:
    """Loads the models and serves the standard input."""
    with socket.socket(fileno=sys.stdin.fileno()) as control:
        recogniser = Recogniser()
        control.sendall(READY)
        serve(control, recogniser)


if __name__ == "__main__":
    main()
