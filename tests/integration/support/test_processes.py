"""The services that tests start."""

import subprocess
from pathlib import Path

import pytest
from support.processes import Service, services


def test_what_runs_is_stopped_at_once_if_another_service_cannot_be_started(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("import signal\n\nsignal.pause()\n")
    idle = Service("idle", 0, {"PYTHONPATH": str(tmp_path)})
    impossible = Service("idle", 0, {"NAME": "\0"})
    failures = (ValueError, subprocess.TimeoutExpired)
    with pytest.raises(failures) as failure, services(idle, impossible):
        pass
    assert failure.type is ValueError
