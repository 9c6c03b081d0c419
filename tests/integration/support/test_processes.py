"""The services that tests start."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.process_tree import alive, until
from support.processes import Service, services
from support.programs import Program

IDLE = "integration.support.idle"


def test_what_runs_is_stopped_at_once_if_another_service_cannot_be_started() -> None:
    idle = Service(IDLE, 0, {})
    impossible = Service(IDLE, 0, {"NAME": Unsendable()})
    failures = (ValueError, subprocess.TimeoutExpired)
    with pytest.raises(failures) as failure, services(idle, impossible):
        pass
    assert failure.type is ValueError


class Unsendable(str):
    """Can't be told to another process."""

    __slots__ = ()

    def __reduce__(self) -> str:
        raise ValueError


async def test_a_program_is_a_process_with_an_environment_of_its_own_that_ends_by_signals(tmp_path: Path) -> None:
    logs = [tmp_path / "one", tmp_path / "other"]
    one, other = (Program(IDLE, os.environ | {"NAME": log.name}, log) for log in logs)
    try:
        assert one.pid not in {os.getpid(), other.pid}
        await until(lambda: [log.read_text() for log in logs] == ["one\n", "other\n"])
        one.terminate()
        assert one.wait(10) == -signal.SIGTERM
        assert alive(other.pid)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.1)
    finally:
        other.kill()
        assert other.wait(10) == -signal.SIGKILL
