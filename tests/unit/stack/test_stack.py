"""Where a stack's services meet."""

import tempfile
from pathlib import Path

import pytest

from voicebus_stack.run import pick_port
from voicebus_stack.stack import Stack


def test_redis_is_reached_whatever_the_folder_for_temporary_files_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(Path("data"), 8000, "secret")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/here")
    assert stack.redis_socket.startswith("/tmp/here/")
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "long" * 30)
    assert stack.redis_socket == f"/tmp/voicebus-{stack.redis_port}.sock"


def test_a_port_of_zero_is_any_free_one() -> None:
    assert pick_port(0) > 0
