"""A whole stack, as `make run` starts it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from voicebus_stack.background import Running, running_stack


@contextmanager
def stack_in_a_thread(log: Path, **options: object) -> Iterator[Running]:
    """The stack runs on a loop of its own, so that tests of any loop can share it."""
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(loop.run_forever)
        stack = running_stack(log, **options)  # type: ignore[arg-type]  # passed on as they are
        try:
            yield asyncio.run_coroutine_threadsafe(stack.__aenter__(), loop).result(90)
        finally:
            asyncio.run_coroutine_threadsafe(stack.__aexit__(None, None, None), loop).result(30)
            loop.call_soon_threadsafe(loop.stop)
    loop.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with stack_in_a_thread(tmp_path_factory.mktemp("stack") / "stack.log") as running:
        yield running


@pytest.fixture(scope="session")
def instant_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with stack_in_a_thread(tmp_path_factory.mktemp("instant") / "stack.log", engines="instant") as running:
        yield running
