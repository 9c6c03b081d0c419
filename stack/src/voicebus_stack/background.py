"""A stack in the background, for as long as somebody needs it: what `make run` starts, with its logs in a file."""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from voicebus_stack.ports import free_port
from voicebus_stack.tokens import make_token

_LAST_WORDS: Final = 12  # lines that a failure shows


class StackFailed(Exception):
    """The stack did not start; the message says where its log is."""


@dataclass(frozen=True)
class Running:
    """Where the stack is, and a token for it."""

    url: str
    token: str


@asynccontextmanager
async def running_stack(
    log: Path, *, engines: str = "default", mcp_config: Path | None = None, timeout_s: float = 60.0
) -> AsyncIterator[Running]:
    """A stack on free ports, with data of its own; stopped at the end.

    Raises:
        StackFailed: it did not get ready in time.
    """
    port, secret = free_port(), secrets.token_urlsafe(32)
    _begin(log)
    with tempfile.TemporaryDirectory(prefix="voicebus-") as data:
        command = ["-m", "voicebus_stack.run", "--port", str(port), "--data", data, "--engines", engines]
        command += ["--log", str(log)] + (["--mcp", str(mcp_config)] if mcp_config else [])
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"LOG_FORMAT": "json"} | os.environ | {"JWT_SECRET": secret, "PYTHONUNBUFFERED": "1"},
        )
        news = _News()
        listening = asyncio.create_task(news.listen(process, log))
        try:
            await _wait_ready(news.ready, listening, timeout_s)
            if not news.ready.is_set():
                raise StackFailed("\n".join(("the stack did not start:", *news.last_words, f"see {log}")))
            yield Running(f"http://127.0.0.1:{port}", make_token(secret, "demo"))
        finally:
            if not listening.done():
                process.send_signal(signal.SIGTERM)
            await listening
            await process.wait()


async def _wait_ready(ready: asyncio.Event, listening: asyncio.Task[None], timeout_s: float) -> None:
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((waiting, listening), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


class _News:
    """What the supervisor tells: that all are ready, or that one stopped."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.last_words: list[str] = []  # of the services when the first one stopped, else the supervisor's own

    async def listen(self, process: asyncio.subprocess.Process, log: Path) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        said: deque[str] = deque(maxlen=_LAST_WORDS)
        async for line in process.stdout:
            said.append(line.decode(errors="replace").rstrip())
            if b"| ready after" in line:
                self.ready.set()
            elif b" stopped (rc=" in line and not self.last_words:
                self.last_words = _tail(log)
        self.last_words = self.last_words or list(said)


def _begin(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")


def _tail(log: Path) -> list[str]:
    """The last errors in the log; its last lines if there are none."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if '"level": "error"' in line]
    return (errors or lines)[-_LAST_WORDS:]
