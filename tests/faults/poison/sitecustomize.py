"""Spoils the engines in the processes that they are forked from: put in front of these by PYTHONPATH.

The file that POISON names is a JSON object: text that is poison, and what the engine does on it. `raise`; `exit`: its
process ends; `hang`; `kill`: it takes its worker along. For the stt engine any sound is poison: its text is `sound`.
Without the file the engine is mended.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

MOST = 6  # of each kind; then it is not given up, and there is nothing more to be seen
HANG_S = 120  # longer than anybody waits


def taste(text: str) -> None:
    """Suffers what the text does."""
    file = Path(os.environ["POISON"])
    moods: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    for poison, mood in moods.items():
        if poison in text:
            _suffer(mood)


def _suffer(mood: str) -> None:
    count = Path(f"{os.environ['POISON']}.{mood}")
    with count.open("a") as file:
        file.write("x")
    if count.stat().st_size > MOST:
        return
    if mood == "raise":
        raise ValueError("poison")
    if mood == "hang":
        time.sleep(HANG_S)
    if mood == "kill":
        forking = os.getppid()
        worker = int(Path(f"/proc/{forking}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(worker, signal.SIGKILL)
    os._exit(1)


def _spoil_tts() -> None:
    from tts_worker.engines import espeak, flite  # noqa: PLC0415 - only in this process
    from tts_worker.engines.engine import EngineError  # noqa: PLC0415

    def spoiled(synthesise: Callable[..., None]) -> Callable[..., None]:
        def spoiling(self: object, text: str, write: object) -> None:
            try:
                taste(text)
            except ValueError as error:
                raise EngineError(str(error)) from error
            synthesise(self, text, write)

        return spoiling

    espeak.Espeak.synthesise = spoiled(espeak.Espeak.synthesise)  # type: ignore[method-assign]
    flite.Flite.synthesise = spoiled(flite.Flite.synthesise)  # type: ignore[method-assign]


def _spoil_stt() -> None:
    from stt_worker.engines.recogniser import Recogniser  # noqa: PLC0415 - only in this process

    feed, loaded_in = Recogniser.feed, os.getpid()

    def spoiling(self: Recogniser, pcm: bytes) -> str:
        if os.getpid() != loaded_in:
            taste("sound")
        return feed(self, pcm)

    Recogniser.feed = spoiling  # type: ignore[method-assign]


if "tts_worker.engines.forkserver" in sys.orig_argv:
    _spoil_tts()
if "stt_worker.engines.forkserver" in sys.orig_argv:
    _spoil_stt()
