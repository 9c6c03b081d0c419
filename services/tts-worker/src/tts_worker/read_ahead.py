"""Reads an engine's chunks ahead, while those before them are on their way."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

MOST_CHUNKS = 16


class ReadAhead:
    """Buffers at most `most` chunks. Leaving it closes the source, wherever that is; nothing of it stays behind."""

    def __init__(self, source: AsyncGenerator[bytes, None], *, most: int = MOST_CHUNKS) -> None:
        self._source = source
        self._buffer: asyncio.Queue[bytes | None] = asyncio.Queue(most)
        self._task: asyncio.Task[None] | None = None
        self._ended = False
        self._error: Exception | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def batch(self) -> list[bytes]:
        """Wait for a chunk and return all that are there, in order; empty at the end. Raises the source's error."""
        batch: list[bytes] = []
        while not self._ended and not (batch and self._buffer.empty()):
            chunk = await self._buffer.get()
            if chunk is None:
                self._ended = True
            else:
                batch.append(chunk)
        if not batch and self._error:
            raise self._error
        return batch

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._source) as chunks:
                async for chunk in chunks:
                    await self._buffer.put(chunk)
        except Exception as error:  # noqa: BLE001 - `batch` raises it, behind the chunks before it
            self._error = error
        await self._buffer.put(None)
