"""The process that recognisers are forked from, one for each utterance: `python -m stt_worker.engines.forkserver`.

`voicebus.chassis.forkserver` says why, and how it starts and ends. A fork answers `AUDIO` with the text so far and
`FINISH` with the transcript, both as the JSON of an `ANSWER`; `SETTLE` has no answer. One that hangs is ended by the
kernel, whatever it waits for.
"""

import json
import signal
import socket
from dataclasses import asdict
from typing import Any

from stt_worker.engines.recogniser import Recogniser
from stt_worker.engines.wire import ANSWER, AUDIO, SETTLE
from voicebus.chassis.forkserver import message, messages, serve

WORK_MAX_S = 60  # for one message: longer than its client waits


def recognise(connection: socket.socket, recogniser: Recogniser) -> None:
    """Serves one utterance."""
    for kind, content in messages(connection):
        signal.alarm(WORK_MAX_S)
        if kind == AUDIO:
            _answer(connection, recogniser.feed(content))
        elif kind == SETTLE:
            recogniser.settle()
        else:
            _answer(connection, asdict(recogniser.finish()))
        signal.alarm(0)


def _answer(connection: socket.socket, content: Any) -> None:
    connection.sendall(message(ANSWER, json.dumps(content).encode()))


def main() -> None:
    """Loads the models and serves the standard input."""
    recogniser = Recogniser()
    serve(lambda connection: recognise(connection, recogniser))


if __name__ == "__main__":
    main()
