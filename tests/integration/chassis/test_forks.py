"""Forks of a pristine process: what they share, and what becomes of them, of the process and of their client."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.process_tree import alive, children, pid, until

from voicebus.chassis.forks import Fork, ForkLost, ForkServer, ForkServerFailed

TESTS = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(TESTS))


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    """At the end, this process has the children that it had before."""
    before = set(children(os.getpid()))
    yield
    assert set(children(os.getpid())) <= before


def a_server(how: str, *, start_timeout_s: float = 20.0, patience_s: float = 20.0) -> ForkServer:
    return ForkServer("integration.chassis.fork_server", how, start_timeout_s=start_timeout_s, patience_s=patience_s)


@asynccontextmanager
async def started(server: ForkServer) -> AsyncIterator[ForkServer]:
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def server() -> AsyncIterator[ForkServer]:
    async with started(a_server("remembering")) as opened:
        yield opened


async def ask(fork: Fork, content: bytes) -> bytes:
    fork.send(b"x", content)
    kind, answer = await fork.receive()
    assert kind == b"x"
    return answer


async def test_the_server_greets_and_each_fork_begins_where_the_server_stands(server: ForkServer) -> None:
    assert server.greeting == b"hello"
    first, second = await server.fork(), await server.fork()
    assert [await ask(first, b"a"), await ask(first, b"b"), await ask(second, b"c")] == [b"a", b"ab", b"c"]
    await first.close()
    await second.close()


async def test_a_message_may_be_larger_than_any_buffer(server: ForkServer) -> None:
    fork = await server.fork()
    content = os.urandom(3_000_000)
    assert await ask(fork, content) == content
    await fork.close()


async def test_a_closed_fork_is_gone(server: ForkServer) -> None:
    fork = await server.fork()
    await ask(fork, b"a")
    assert len(children(pid(server))) == 1
    async with asyncio.timeout(1):  # it goes by itself, and nobody has to give it up
        await fork.close()
    await until(lambda: children(pid(server)) == [], timeout_s=0.5)


async def test_a_killed_fork_is_lost_and_no_other(server: ForkServer) -> None:
    doomed = await server.fork()
    await ask(doomed, b"a")
    (process,) = children(pid(server))
    neighbour = await server.fork()
    os.kill(process, signal.SIGKILL)
    with pytest.raises(ForkLost, match="crashed"):
        await ask(doomed, b"b")
    await doomed.close()
    assert await ask(neighbour, b"c") == b"c"
    await neighbour.close()


async def test_a_job_that_raises_ends_its_fork_only() -> None:
    async with started(a_server("failing")) as server:
        process = pid(server)
        for _ in range(2):
            fork = await server.fork()
            with pytest.raises(ForkLost, match="crashed"):
                await ask(fork, b"a")
            await fork.close()
        assert pid(server) == process


async def test_where_no_process_can_be_forked_the_fork_is_lost_and_the_next_may_come() -> None:
    async with started(a_server("short-of-memory")) as server:
        process = pid(server)
        lost = await server.fork()
        with pytest.raises(ForkLost, match="crashed"):
            await ask(lost, b"a")
        await lost.close()
        fork = await server.fork()
        assert await ask(fork, b"b") == b"b"
        await fork.close()
        assert pid(server) == process


async def test_a_fork_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus.chassis.forks.EXIT_TIMEOUT_S", 0.2)
    async with started(a_server("remembering", patience_s=0.5)) as server:
        fork = await server.fork()
        await until(lambda: children(pid(server)) != [])
        (process,) = children(pid(server))
        os.kill(process, signal.SIGSTOP)
        with pytest.raises(ForkLost, match="hangs"):
            await ask(fork, b"a")
        async with asyncio.timeout(2):
            await fork.close()
        assert alive(process)
        os.kill(process, signal.SIGCONT)
        await until(lambda: not alive(process))


async def test_a_killed_server_is_started_anew_once_and_its_forks_go_on(
    server: ForkServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, start, starts = pid(server), server.start, 0

    async def counted_start() -> None:
        nonlocal starts
        starts += 1
        await start()

    monkeypatch.setattr(server, "start", counted_start)
    fork = await server.fork()
    await ask(fork, b"a")
    os.kill(before, signal.SIGKILL)
    await until(lambda: not alive(before))
    forks = await asyncio.gather(*(server.fork() for _ in range(3)))
    assert [await ask(each, b"c") for each in forks] == [b"c"] * 3
    assert starts == 1
    assert pid(server) != before
    assert len(children(pid(server))) == 3
    assert await ask(fork, b"b") == b"ab"
    for each in (fork, *forks):
        await each.close()


@pytest.mark.usefixtures("nothing_stays")
async def test_a_server_that_can_not_be_started_anew_is_an_error() -> None:
    async with started(a_server("remembering")) as server:
        process = pid(server)
        server._command[-1] = "ending"
        os.kill(process, signal.SIGKILL)
        await until(lambda: not alive(process))
        for _ in range(2):
            with pytest.raises(ForkServerFailed, match="doesn't start"):
                await server.fork()
        server._command[-1] = "remembering"
        fork = await server.fork()
        assert await ask(fork, b"a") == b"a"
        await fork.close()


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    ("how", "reason"), [("ending", "doesn't start.*ended at once"), ("refusing", "^there is no voice$")]
)
async def test_a_server_that_is_not_ready_says_why(how: str, reason: str) -> None:
    with pytest.raises(ForkServerFailed, match=reason):
        await a_server(how).start()


@pytest.mark.usefixtures("nothing_stays")
async def test_a_module_that_is_missing_is_an_error() -> None:
    with pytest.raises(ForkServerFailed, match="doesn't start"):
        await ForkServer("integration.chassis.missing", start_timeout_s=20.0, patience_s=1.0).start()


@pytest.mark.usefixtures("nothing_stays")
async def test_a_server_that_does_not_get_ready_in_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus.chassis.forks.EXIT_TIMEOUT_S", 0.1)
    with pytest.raises(ForkServerFailed, match="TimeoutError"):
        await a_server("hanging", start_timeout_s=0.3).start()


@pytest.mark.usefixtures("nothing_stays")
async def test_who_gives_up_waiting_for_the_start_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus.chassis.forks.EXIT_TIMEOUT_S", 0.1)
    server = a_server("hanging")
    starting = asyncio.create_task(server.start())
    await until(lambda: server._process is not None)
    starting.cancel()
    await asyncio.wait([starting])
    assert starting.cancelled()


@pytest.mark.usefixtures("nothing_stays")
async def test_stopping_kills_a_server_that_hangs_and_leaves_its_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus.chassis.forks.EXIT_TIMEOUT_S", 0.1)
    async with started(a_server("remembering")) as server:
        process, fork = pid(server), await server.fork()
        assert await ask(fork, b"a") == b"a"
        os.kill(process, signal.SIGSTOP)
        await server.stop()
        assert not alive(process)
        assert await ask(fork, b"b") == b"ab"
        await fork.close()
