"""The life cycle of a worker: finds work, keeps it, hears cancellations, hands it over."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.bus.settings import BusSettings
from voicebus.bus.stages import Stages
from voicebus.chassis.held import Held
from voicebus.chassis.mailbox import Handle, mail_by_mail
from voicebus.chassis.metrics import REGISTRY
from voicebus.chassis.worker import _LOOK_EVERY_S, Worker
from voicebus.contract import events, payloads
from voicebus.contract.errors import BusFull, BusUnavailable, TurnCancelled
from voicebus.contract.mail import UserTurn


@asynccontextmanager
async def working(
    bus: Bus, name: str, handle: Handle, *, capacity: int = 8, drain_s: float = 5
) -> AsyncIterator[Worker]:
    worker = Worker(bus, "agent", name, mail_by_mail("agent", handle), capacity=capacity)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(drain_s=drain_s))
        try:
            yield worker
        finally:
            worker.drain()


def content(delivery: Delivery) -> str:
    assert isinstance(delivery.mail, UserTurn)
    return delivery.mail.content


def turn(delivery: Delivery) -> int:
    assert isinstance(delivery.mail, UserTurn)
    return delivery.mail.turn


def answering(done: list[str]) -> Handle:
    async def handle(held: Held, delivery: Delivery) -> None:
        response = events.Response(
            session_id=held.session_id,
            turn=turn(delivery),
            data=payloads.ResponseData(content=content(delivery).upper(), response_id="r"),
        )
        await held.lease.emit(
            Emission(turn(delivery), "r").event(response).answered(turn(delivery)).cursor(delivery.id)
        )
        done.append(content(delivery))

    return handle


async def eventually(condition: Callable[[], Awaitable[bool] | bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while True:
            answer = condition()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)


async def test_mail_is_served_in_order_session_by_session(bus: Bus) -> None:
    done: list[str] = []
    async with working(bus, "w1", answering(done)):
        first = await open_session(bus, "a1", "a2", "a3")
        second = await open_session(bus, "b1", "b2")
        await eventually(lambda: len(done) == 5)
    for session_id, wanted in ((first, ["A1", "A2", "A3"]), (second, ["B1", "B2"])):
        responses = [e.data.content for e in await events_of(bus, session_id) if isinstance(e, events.Response)]
        assert responses == wanted


async def test_mail_that_waited_before_the_worker_came_is_found(bus: Bus) -> None:
    done: list[str] = []
    await open_session(bus, "early")
    async with working(bus, "w1", answering(done)):
        await eventually(lambda: done == ["early"])


async def test_no_more_sessions_than_its_capacity(bus: Bus) -> None:
    running, most, go_on = set[str](), list[int](), asyncio.Event()

    async def handle(held: Held, delivery: Delivery) -> None:
        running.add(held.session_id)
        most.append(len(running))
        await go_on.wait()
        running.discard(held.session_id)
        await held.lease.emit(Emission().answered(turn(delivery)).cursor(delivery.id))

    for _ in range(5):
        await open_session(bus, "x")
    async with working(bus, "w1", handle, capacity=2):
        await eventually(lambda: len(running) == 2)
        go_on.set()
        await eventually(lambda: len(most) == 5)
    assert max(most) == 2


async def test_what_rang_while_a_worker_was_full_is_served_in_its_turn_as_soon_as_there_is_room(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicebus.chassis.worker._LOOK_EVERY_S", 3_600)
    done, go_on = list[str](), asyncio.Event()
    answer = answering(done)

    async def handle(held: Held, delivery: Delivery) -> None:
        await go_on.wait()
        await answer(held, delivery)

    questions = [f"question {number}" for number in range(20)]
    async with working(bus, "w1", handle, capacity=1) as worker:
        for question in questions:
            await open_session(bus, question)
        await eventually(lambda: worker.held == 1 and len(worker._rung) == len(questions) - 1)
        go_on.set()
        await eventually(lambda: len(done) == len(questions))
    assert done == questions


async def test_sessions_that_others_serve_by_now_hold_nobody_up(bus: Bus) -> None:
    done, go_on, leave = list[str](), asyncio.Event(), asyncio.Event()
    answer = answering(done)

    async def handle(held: Held, delivery: Delivery) -> None:
        await {"first": go_on, "second": leave}.get(content(delivery), go_on).wait()
        await answer(held, delivery)

    async with working(bus, "w1", handle, capacity=2) as worker:
        await open_session(bus, "first")
        await open_session(bus, "second")
        await eventually(lambda: worker.held == 2)
        for number in range(2_000):
            worker.rung(f"served elsewhere {number}")
        await open_session(bus, "third")
        go_on.set()
        await eventually(lambda: done == ["first", "third"], timeout_s=5)
        leave.set()


async def test_a_session_without_mail_makes_room_for_one_that_has(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus.chassis.mailbox.LINGER_S", 3_600)
    done, go_on = list[str](), asyncio.Event()
    answer = answering(done)

    async def handle(held: Held, delivery: Delivery) -> None:
        if content(delivery) == "long":
            await go_on.wait()
        await answer(held, delivery)

    async with working(bus, "w1", handle, capacity=2):
        await open_session(bus, "first")
        await eventually(lambda: done == ["first"])
        await open_session(bus, "long")
        await open_session(bus, "last")
        await eventually(lambda: done == ["first", "last"])
        go_on.set()


async def test_a_draining_worker_hands_over_between_two_mails(bus: Bus) -> None:
    entered, go_on, done = asyncio.Event(), asyncio.Event(), list[str]()
    answer_by_other = list[str]()

    async def slow(held: Held, delivery: Delivery) -> None:
        entered.set()
        await go_on.wait()
        await answering(done)(held, delivery)

    await open_session(bus, "first", "second")
    async with working(bus, "old", slow) as old:
        await entered.wait()
        old.drain()
        async with working(bus, "new", answering(answer_by_other)):
            go_on.set()
            await eventually(lambda: answer_by_other == ["second"], timeout_s=3)
    assert done == ["first"]


async def test_an_interruption_cancels_what_runs(bus: Bus) -> None:
    entered, outcome = asyncio.Event(), list[str]()

    async def handle(held: Held, delivery: Delivery) -> None:
        async def forever() -> None:
            entered.set()
            await asyncio.Event().wait()

        try:
            await held.while_not_cancelled(turn(delivery), forever())
        except TurnCancelled:
            outcome.append("cancelled")
            await held.lease.emit(Emission().answered(turn(delivery)).cursor(delivery.id))

    session_id = await open_session(bus, "go")
    async with working(bus, "w1", handle):
        await entered.wait()
        await bus.inbox.interrupt(session_id, agent_type="personal")
        await eventually(lambda: outcome == ["cancelled"], timeout_s=2)


async def test_a_lost_lease_is_no_interruption(bus: Bus) -> None:
    outcome = list[str]()

    async def handle(held: Held, delivery: Delivery) -> None:
        async def lose_both() -> None:
            held.cancel(turn(delivery))
            held.lose()
            await asyncio.Event().wait()

        try:
            await held.while_not_cancelled(turn(delivery), lose_both())
        except BaseException as error:
            outcome.append(type(error).__name__)
            raise

    await open_session(bus, "go")
    async with working(bus, "w1", handle):
        await eventually(lambda: outcome == ["CancelledError"], timeout_s=2)


async def test_a_handler_that_fails_is_tried_again_then_given_up_and_the_next_mail_is_served(bus: Bus) -> None:
    tries, done = list[int](), list[str]()

    async def handle(held: Held, delivery: Delivery) -> None:
        if content(delivery) == "poison":
            tries.append(delivery.attempt)
            raise RuntimeError("it does not work")
        await answering(done)(held, delivery)

    session_id = await open_session(bus, "poison", "fine")
    async with working(bus, "w1", handle):
        await eventually(lambda: done == ["fine"])
    assert tries == [1, 2, 3]
    failed = [e for e in await events_of(bus, session_id) if isinstance(e, events.Error)]
    assert [(e.turn, e.data.code) for e in failed] == [(1, "agent_failed")]


async def test_an_attempt_that_a_redis_without_room_cut_short_does_not_count(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts, done, refusals = list[int](), list[str](), iter([BusFull(), BusUnavailable()])
    hand_over = Lease.hand_over

    async def refused_at_first(lease: Lease, *, failed: bool = False) -> None:
        for error in refusals:
            raise error
        await hand_over(lease, failed=failed)

    async def handle(held: Held, delivery: Delivery) -> None:
        attempts.append(delivery.attempt)
        if len(attempts) == 1:
            raise BusFull
        await answering(done)(held, delivery)

    monkeypatch.setattr(Lease, "hand_over", refused_at_first)
    async with working(bus, "w1", handle):
        await open_session(bus, "hello")
        await eventually(lambda: done == ["hello"])
    assert attempts == [1, 1]


async def test_a_worker_that_lost_its_lease_stops_at_once(bus_settings: BusSettings) -> None:
    async with open_bus(replace(bus_settings, lease_ms=300)) as bus:
        entered, stopped = asyncio.Event(), asyncio.Event()

        async def handle(held: Held, delivery: Delivery) -> None:
            entered.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopped.set()
                raise

        session_id = await open_session(bus, "x")
        before = leases_lost()
        async with working(bus, "w1", handle):
            await entered.wait()
            keys = bus.keys.of(session_id)
            await bus.calls.command("HSET", keys.session, "agent.token", "999.00000000")
            await asyncio.wait_for(stopped.wait(), 3)
        assert leases_lost() == before + 1


def leases_lost() -> float:
    return REGISTRY.get_sample_value("voicebus_leases_lost_total", {"stage": "agent"}) or 0.0


@pytest.mark.parametrize("lost", ["rung", "told"])
async def test_a_lost_doorbell_or_wake_up_costs_a_moment_only(
    bus: Bus, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    async with working(bus, "w1", answering(done)) as worker:
        monkeypatch.setattr(worker, lost, lambda *_: None)
        session_id = await open_session(bus, "one")
        await eventually(lambda: done == ["one"], timeout_s=5)
        await bus.inbox.submit(session_id, "two", agent_type="personal")
        await eventually(lambda: done == ["one", "two"], timeout_s=5)


async def state(bus: Bus, session_id: str) -> str:
    value: bytes = await bus.calls.command("HGET", bus.keys.of(session_id).session, "agent.state") or b""
    return value.decode()


async def test_a_stage_without_mail_is_given_back_though_its_lease_is_renewed(
    bus_settings: BusSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voicebus.chassis.mailbox.LINGER_S", 0.5)
    done: list[str] = []
    async with open_bus(replace(bus_settings, lease_ms=300)) as bus, working(bus, "w1", answering(done)):
        session_id = await open_session(bus, "hello")
        await eventually(lambda: done == ["hello"])

        async def idle() -> bool:
            return await state(bus, session_id) == "idle"

        await eventually(idle, 5)


async def test_work_that_outlasts_the_drain_is_handed_over(bus: Bus) -> None:
    begun = asyncio.Event()

    async def handle(held: Held, delivery: Delivery) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with working(bus, "w1", handle, drain_s=0.05):
        session_id = await open_session(bus, "hello")
        await begun.wait()
    assert await state(bus, session_id) == "queued"


async def test_after_a_new_epoch_a_stage_is_leased_anew_at_once(bus: Bus) -> None:
    done: list[str] = []
    async with working(bus, "w1", answering(done)):
        session_id = await open_session(bus, "before")
        await eventually(lambda: done == ["before"])
        await bus.calls.command("HSET", bus.keys.of(session_id).session, "agent.token", "1.00000000")
        await bus.inbox.submit(session_id, "after", agent_type="personal")
        await eventually(lambda: done == ["before", "after"], bus.settings.lease_ms / 3_000)


@pytest.mark.parametrize("call", ["lease", "waiting"])
async def test_after_a_new_epoch_a_stage_is_leased_anew_soon_though_redis_is_hardly_there_yet(
    bus_settings: BusSettings, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempts fail, or what waits is told later than it is asked for again."""
    done, late, original = list[str](), False, getattr(Stages, call)
    looking = asyncio.Event()

    async def hardly(stages: Stages, *arguments: Any, **options: Any) -> Any:
        nonlocal late
        if late and call == "lease":
            late = False
            raise BusUnavailable
        if late:
            looking.set()
            await asyncio.sleep(2 * _LOOK_EVERY_S)
        return await original(stages, *arguments, **options)

    monkeypatch.setattr(Stages, call, hardly)
    async with open_bus(replace(bus_settings, lease_ms=60_000)) as bus, working(bus, "w1", answering(done)):
        session_id = await open_session(bus, "before")
        await eventually(lambda: done == ["before"])
        late = True
        if call == "waiting":
            await looking.wait()
        await bus.calls.command("HSET", bus.keys.of(session_id).session, "agent.token", "1.00000000")
        await bus.inbox.submit(session_id, "after", agent_type="personal")
        await eventually(lambda: done == ["before", "after"])
