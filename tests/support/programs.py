"""`python -m` a service, without the seconds that its imports take: a process that has them is forked.

What runs is a process of its own like any other, with its own environment, which may be killed, stopped or drained.
`CLOCK_OFF_S` in its environment is by how much its clock is ahead; what measures time only, such as `time.monotonic`,
knows nothing of it.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Final

CLOCK_OFF: Final = "CLOCK_OFF_S"
SERVICES: Final = ("gateway", "stt_worker", "agent_worker", "tts_worker")
_context = multiprocessing.get_context("forkserver")
_PRELOADED: Final = [f"{service}.process" for service in SERVICES]
_context.set_forkserver_preload(_PRELOADED)


def preload(*modules: str) -> None:
    """What else the processes are forked with, if none has been forked yet: else each imports it by itself."""
    _context.set_forkserver_preload([*_PRELOADED, *modules])


class Program:
    """A running process; of `subprocess.Popen` what tests need."""

    def __init__(self, module: str, environment: dict[str, str], log: Path | None = None) -> None:
        self._module = module
        if log:
            log.touch()  # so that it can be read from now on
        self._process = _context.Process(target=_run, args=(module, environment, log), name=module, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        with suppress(ProcessLookupError):  # it ends at this moment
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout_s: float) -> int:
        """The exit status, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it did not within this time.
        """
        self._process.join(timeout_s)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(self._module, timeout_s)
        return status


def _run(module: str, environment: dict[str, str], log: Path | None) -> None:
    os.environ.clear()
    os.environ.update(environment)
    if off_s := environment.get(CLOCK_OFF):
        travel = import_module("time_machine").travel  # few processes need it
        travel(timedelta(seconds=float(off_s)), tick=True).start()
    if log:
        with log.open("wb") as file:
            os.dup2(file.fileno(), sys.stderr.fileno())
    import_module(f"{module}.process").main()
