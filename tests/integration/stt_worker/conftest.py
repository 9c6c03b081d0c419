"""The recogniser whose models take long to load: once for each module whose tests share a loop."""

from collections.abc import AsyncIterator

import pytest_asyncio

from stt_worker.engines.pocketsphinx import PocketsphinxEngine


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[PocketsphinxEngine]:
    async with PocketsphinxEngine(decoders=2) as opened:
        yield opened
