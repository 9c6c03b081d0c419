import asyncio
from collections.abc import AsyncGenerator

import pytest

from tts_worker.engines.engine import SynthesisError
from tts_worker.read_ahead import ReadAhead


class Source:
    """Gives its chunks when told to, then ends or fails."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self.count = count
        self.error = error
        self.given = 0
        self.closed = False
        self.full = asyncio.Event()
        self.go_on = asyncio.Event()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while self.given < self.count:
                self.given += 1
                yield bytes([self.given])
            self.full.set()
            await self.go_on.wait()
            if self.error:
                raise self.error
        finally:
            self.closed = True


async def test_all_chunks_that_are_there_come_as_one_batch() -> None:
    source = Source(5)
    async with ReadAhead(source.chunks()) as ahead:
        await source.full.wait()
        assert await ahead.batch() == [b"\1", b"\2", b"\3", b"\4", b"\5"]
        source.go_on.set()
        assert await ahead.batch() == []
        assert await ahead.batch() == []


async def test_no_more_is_read_than_the_buffer_holds() -> None:
    source = Source(100)
    async with ReadAhead(source.chunks(), most=3) as ahead:
        received = 0
        for _ in range(4):
            received += len(await ahead.batch())
            assert source.given <= received + 4  # three wait, one more is at the door
    assert source.closed


async def test_an_error_comes_behind_the_chunks_before_it() -> None:
    source = Source(2, SynthesisError("no voice left"))
    source.go_on.set()
    async with ReadAhead(source.chunks()) as ahead:
        await source.full.wait()
        assert await ahead.batch() == [b"\1", b"\2"]
        with pytest.raises(SynthesisError, match="no voice left"):
            await ahead.batch()


async def test_leaving_closes_the_source_wherever_it_is() -> None:
    source = Source(2)
    async with ReadAhead(source.chunks()):
        await source.full.wait()
    assert source.closed
