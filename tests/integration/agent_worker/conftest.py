"""The tests' own tools behind HTTP, which costs a test less than a process of its own, and buses with other leases."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from integration.agent_worker.http_tools import HttpTools, running_http_tools

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings


@pytest.fixture(scope="session")
def tool_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpTools]:
    with running_http_tools(tmp_path_factory.mktemp("tools")) as tools:
        yield tools


@pytest.fixture
def http_tools(tool_process: HttpTools) -> HttpTools:
    """As at the start: no tool was called; `note` answers at once."""
    tool_process.clear()
    tool_process.touch("go")
    return tool_process


@pytest.fixture
async def quick(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    """Leases expire fast, so that the next worker need not wait."""
    async with open_bus(replace(bus_settings, lease_ms=150)) as opened:
        yield opened


@pytest.fixture
async def patient(bus_settings: BusSettings) -> AsyncIterator[Bus]:
    """Leases are renewed too seldom to make up for a wake-up within a test."""
    async with open_bus(replace(bus_settings, lease_ms=120_000)) as opened:
        yield opened
