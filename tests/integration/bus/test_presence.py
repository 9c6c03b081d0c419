"""Workers say that they live; those that fall silent are forgotten."""

from datetime import UTC, datetime

import pytest

from voicebus.bus import presence
from voicebus.bus.bus import Bus
from voicebus.bus.presence import WorkerState, bounded
from voicebus.contract.keys import Stage


def worker(name: str, stage: Stage = "agent", **said: object) -> WorkerState:
    common = {"version": "1", "status": "ready", "capacity": 8, "held": 2, "started_at": datetime.now(UTC)}
    return WorkerState.model_validate({"name": name, "stage": stage, **common, **said})


async def at(bus: Bus, ago_s: float, name: str) -> None:
    """As if the worker had said it so long ago, by the server's clock."""
    seconds, _ = await bus.calls.command("TIME")
    await bus.calls.command("ZADD", bus.keys.workers, (int(seconds) - ago_s) * 1000, name)


async def names(bus: Bus) -> list[str]:
    return [living.state.name for living in await bus.presence.workers()]


async def test_those_that_live_are_listed_with_what_they_said_last(bus: Bus) -> None:
    await bus.presence.announce(worker("tts-1", "tts", details={"engine": "flite"}))
    await bus.presence.announce(worker("agent-1"))
    await bus.presence.announce(worker("agent-1", held=5, status="failing", failures={"redis": "gone"}))
    agent, tts = await bus.presence.workers()
    assert (agent.state.name, agent.state.held, agent.state.failures) == ("agent-1", 5, {"redis": "gone"})
    assert tts.state.details == {"engine": "flite"}
    assert 0 <= agent.age_s < 5


async def test_one_that_leaves_is_gone_at_once(bus: Bus) -> None:
    await bus.presence.announce(worker("a"))
    await bus.presence.announce(worker("b"))
    await bus.presence.leave("a")
    assert await names(bus) == ["b"]


async def test_the_age_is_by_the_clock_of_redis(bus: Bus) -> None:
    await bus.presence.announce(worker("a"))
    await at(bus, 7, "a")
    (living,) = await bus.presence.workers()
    assert 6 < living.age_s < 10


async def test_the_silent_are_not_listed_and_what_they_said_is_forgotten(bus: Bus) -> None:
    await bus.presence.announce(worker("dead"))
    await at(bus, presence.FORGOTTEN_AFTER_S + 1, "dead")
    assert await names(bus) == []
    await bus.presence.announce(worker("alive"))
    assert await bus.calls.command("HKEYS", bus.keys.worker_states) == [b"alive"]
    assert await bus.calls.command("ZCARD", bus.keys.workers) == 1


async def test_their_number_is_bounded(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "WORKERS_MOST", 2)
    for name in ("a", "b", "c", "a"):
        await bus.presence.announce(worker(name))
    assert await names(bus) == ["a", "b"]


async def test_another_version_s_words_do_not_hide_the_others(bus: Bus) -> None:
    await bus.presence.announce(worker("a"))
    await bus.presence.announce(worker("b"))
    await bus.calls.command("HSET", bus.keys.worker_states, "a", '{"name":"a"}')
    assert await names(bus) == ["b"]


def test_a_worker_says_no_more_than_fits() -> None:
    said = bounded({f"{'n' * 300}{i}": "x" * 10_000 for i in range(10)} | {str(i): "y" for i in range(100)})
    assert len(said) <= 32
    assert max(len(name) + len(text) for name, text in said.items()) <= 400
