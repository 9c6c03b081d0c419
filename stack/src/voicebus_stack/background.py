"""A stack in the background, for as long as somebody needs it: what `make run` starts, with its output in a file."""

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

from voicebus_stack.redis_server import free_port
from voicebus_stack.tokens import make_token


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
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="voicebus-") as data:
        command = ["-m", "voicebus_stack.run", "--port", str(port), "--data", data, "--engines", engines]
        command += ["--mcp", str(mcp_config)] if mcp_config else []
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(os.environ) | {"JWT_SECRET": secret, "PYTHONUNBUFFERED": "1", "LOG_FORMAT": "json"},
        )
        ready, last_words = asyncio.Event(), deque[str](maxlen=12)
        copying = asyncio.create_task(_copy(process, log, ready, last_words))
        try:
            await _wait_ready(ready, copying, timeout_s)
            if not ready.is_set():
                raise StackFailed("\n".join((f"the stack did not start; {log} ends with", *last_words)))
            yield Running(f"http://127.0.0.1:{port}", make_token(secret, "demo"))
        finally:
            if not copying.done():
                process.send_signal(signal.SIGTERM)
            await copying
            await process.wait()


async def _wait_ready(ready: asyncio.Event, copying: asyncio.Task[None], timeout_s: float) -> None:
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait((waiting, copying), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()


async def _copy(process: asyncio.subprocess.Process, log: Path, ready: asyncio.Event, last_words: deque[str]) -> None:
    """Copies the output to the file; `last_words` are those before the first process stopped."""
    stopping = False
    assert process.stdout is not None  # noqa: S101 - it was asked for
    with log.open("wb") as file:
        async for line in process.stdout:
            file.write(line)
            file.flush()
            if b"| ready after" in line:
                ready.set()
            stopping = stopping or b" stopped (rc=" in line
            if not stopping:
                last_words.append(line.decode(errors="replace").rstrip())
