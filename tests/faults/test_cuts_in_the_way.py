"""The way between clients and gateways breaks all the time: by resets, and by lines that are dead without a word."""

import asyncio
import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

import pytest
from faults.crowd import OWNER, QUICK, TICK_S, crowd
from faults.figures import metric, seconds_until
from faults.gateways import Gateways
from faults.proxy import Pair, Proxy, proxy
from faults.scenario import FULL, SEED, Outcome, Record
from faults.senders import Hearer, Sender, conversing
from faults.tally import Tally, total
from support.process_tree import soon
from support.processes import SECRET
from support.sessions import events_of, open_session

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus
from voicebus_stack.tokens import make_token

PREFIX: Final = "cuts"
PING_S: Final = 0.5  # who hears nothing for twice as long takes the line for dead
SECONDS: Final = 60 if FULL else 3
# Events a second in each session, sessions, clients.
LOADS: Final = [(200, 4, 12), (1_000, 1, 3)] if FULL else [(200, 1, 4), (1_000, 1, 2)]
RATE_LEAST: Final = 0.7  # of the events that a load names: a busy machine's first seconds are slow
DEAD_LINES: Final = 0.25  # of all cuts
TAKING: Final = 0.5  # of all dead lines: where the other side's machine seems to acknowledge
DEAD_CLIENTS, DEAD_ROUNDS = (40, 10) if FULL else (8, 2)  # half of the lines go dead, again and again
DEAD_SESSIONS, DEAD_RATE = 2, 20  # and events a second in each
NOTICED_S: Final = 3 * PING_S + 5  # it may die right behind a ping, two more are unanswered; and machines are busy
USUAL_S: Final = 4 * PING_S  # but not for most lines of all rounds
PAUSE_S: Final = (0.05, 0.3)  # between two cuts
MOMENT_S: Final = (0.0, 0.01)  # between what a client says and the cut
TOGETHER: Final = 10  # messages that a client sends in one go
SETTLED_S: Final = 60 if FULL else 20
OPEN: Final = "voicebus_connections"
LOG_MAX: Final = 100_000
FELL_SILENT: Final = 'voicebus_connections_closed_total{code="1011"}'


@pytest.fixture(scope="module")
def gateways(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateways]:
    """Two, for all scenarios here."""
    environment = {"PING_INTERVAL_S": str(PING_S), "LOG_MAX": str(LOG_MAX)}
    made = Gateways(redis_url, PREFIX, 2, tmp_path_factory.mktemp("gateways"), **environment)
    try:
        asyncio.run(made.start(0, 1))
        yield made
    finally:
        made.stop()


@pytest.fixture
def bus_settings(redis_url: str) -> BusSettings:
    """The gateways' keys. However late a client of a busy machine is, what it has to get is kept."""
    return BusSettings(redis_url=redis_url, prefix=PREFIX, partitions=4, log_max=LOG_MAX)


@pytest.mark.timeout(SECONDS + 90)
@pytest.mark.parametrize(("rate", "sessions", "clients"), LOADS)
async def test_clients_whose_connections_break_all_the_time_get_every_event(
    bus: Bus, gateways: Gateways, record: Record, rate: int, sessions: int, clients: int
) -> None:
    chance = random.Random(f"{SEED} {rate}")
    async with (
        proxy(gateways.ports) as way,
        crowd(bus, way.url, sessions=sessions, clients=clients, rate=rate, bare=True) as listening,
    ):
        resets, dead = await cut_for(SECONDS, way, chance)
        await listening.settle(within_s=SETTLED_S)
    record(
        Outcome(
            "connections of listening clients are cut",
            load_of(rate, sessions, clients),
            f"{resets} resets, {dead} dead lines",
            listening.tally,
            listening.recovery_s,
            f"{listening.accepted} events, {listening.delivered} deliveries",
        )
    )
    assert not listening.failures
    assert not listening.gaps
    assert resets
    assert dead
    assert listening.accepted >= RATE_LEAST * rate * sessions * SECONDS


def load_of(rate: int, sessions: int, clients: int) -> str:
    """In words."""
    counted = f"{sessions} sessions" if sessions > 1 else "one session"
    return f"{clients} clients, {counted} of {rate} events/s, {SECONDS} s"


async def cut_for(seconds: float, way: Proxy, chance: random.Random) -> tuple[int, int]:
    """Cuts one connection after the other; returns how many by a reset, and how many without a word."""
    loop = asyncio.get_running_loop()
    over_s = loop.time() + seconds
    resets = dead = 0
    while loop.time() < over_s or not (resets and dead):
        await asyncio.sleep(chance.uniform(*PAUSE_S))
        whole = [pair for pair in way.pairs if not pair.deaf]
        if not whole:
            continue
        pair = chance.choice(whole)
        if chance.random() < DEAD_LINES:
            pair.swallow(taking=chance.random() < TAKING)
            dead += 1
        else:
            pair.reset()
            resets += 1
    return resets, dead


@pytest.mark.timeout(180)
async def test_dead_lines_are_noticed_by_both_sides(bus: Bus, gateways: Gateways, record: Record) -> None:
    """A dead line that its client or its gateway holds for longer than two pings take counts as misplaced."""
    chance = random.Random(SEED)
    port = gateways.ports[0]
    noticed = Noticed()
    before = await metric(port, FELL_SILENT)
    async with (
        proxy([port]) as way,
        crowd(bus, way.url, sessions=DEAD_SESSIONS, clients=DEAD_CLIENTS, rate=DEAD_RATE, bare=True) as listening,
    ):
        for _ in range(DEAD_ROUNDS):
            await soon(lambda: whole_lines(way) == listening.connected == DEAD_CLIENTS, timeout_s=NOTICED_S)
            await asyncio.sleep(chance.uniform(0, PING_S))
            await noticed.wait(break_half(way, chance))
        await listening.settle(within_s=10)
        await seconds_until(port, OPEN, lambda there: there <= DEAD_CLIENTS, most_s=NOTICED_S)
        held = max(0, int(await metric(port, OPEN)) - DEAD_CLIENTS)
        counted = await metric(port, FELL_SILENT)
    record(
        Outcome(
            "lines go dead without a word",
            f"{DEAD_CLIENTS} clients, {DEAD_SESSIONS * DEAD_RATE} events/s, pings every {PING_S} s",
            f"{noticed.lines} dead lines",
            listening.tally + noticed.tally + Tally(misplaced=held),
            listening.recovery_s,
            f"{listening.accepted} events; clients noticed {within(noticed.clients_s)}, "
            f"the gateway {within(noticed.gateway_s)}",
        )
    )
    assert not listening.failures
    assert not listening.gaps
    assert noticed.lines == DEAD_ROUNDS * (DEAD_CLIENTS // 2)
    assert counted - before >= noticed.lines


def within(times_s: Sequence[float]) -> str:
    """In words."""
    return f"within {max(times_s):.2f} s, half within {median(times_s):.2f} s" if times_s else "nothing"


class Noticed:
    """How long each side took to give up lines that were dead; of those that it gave up in time."""

    def __init__(self) -> None:
        self.lines = 0
        self.clients_s: list[float] = []
        self.gateway_s: list[float] = []

    async def wait(self, dead: Sequence[Pair]) -> None:
        """Returns when both sides have given these up, or the time is over."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        self.lines += len(dead)
        held = [(pair.client, self.clients_s) for pair in dead] + [(pair.server, self.gateway_s) for pair in dead]
        while held and (took_s := loop.time() - began_s) < NOTICED_S:
            gone = [(end, times) for end, times in held if end.left]
            for each in gone:
                each[1].append(took_s)
                held.remove(each)
            await asyncio.sleep(TICK_S)

    @property
    def tally(self) -> Tally:
        """Who held on to a line was where nobody is: too long a time, or most of them longer than usual."""
        sides = (self.clients_s, self.gateway_s)
        late = sum(len(side) - bisect(sorted(side), USUAL_S) for side in sides if side and median(side) > USUAL_S)
        return Tally(misplaced=2 * self.lines - sum(map(len, sides)) + late)


def break_half(way: Proxy, chance: random.Random) -> list[Pair]:
    """Half of the lines go dead; every other one seems to be acknowledged. Returns them."""
    whole = [pair for pair in way.pairs if not pair.deaf]
    dead = chance.sample(whole, min(len(whole), DEAD_CLIENTS // 2))
    for number, pair in enumerate(dead):
        pair.swallow(taking=bool(number % 2))
    return dead


def whole_lines(way: Proxy) -> int:
    """How many lines carry something."""
    return sum(not pair.deaf for pair in way.pairs)


@pytest.mark.timeout(SECONDS + 90)
async def test_messages_that_are_sent_again_after_each_cut_have_one_effect(
    bus: Bus, gateways: Gateways, record: Record
) -> None:
    """Two clients say something in each session, which an agent hears and does not answer."""
    chance = random.Random(SEED)
    count = 10 if FULL else 4
    ids = [await open_session(bus) for _ in range(count // 2)]
    speaking = [Sender(f"client {number}", ids[number % len(ids)], TOGETHER) for number in range(count)]
    hearing = [Hearer(bus, session_id) for session_id in ids]
    cuts = on_their_way = 0
    async with (
        proxy(gateways.ports) as way,
        Voicebus(way.url, make_token(SECRET, OWNER), options=QUICK) as voicebus,
        conversing(voicebus, speaking, hearing),
    ):
        loop = asyncio.get_running_loop()
        over_s = loop.time() + SECONDS
        while loop.time() < over_s:
            await asyncio.sleep(chance.uniform(*PAUSE_S))
            await chance.choice(speaking).speaks.wait()
            await asyncio.sleep(chance.uniform(*MOMENT_S))
            on_their_way += sum(sender.waiting for sender in speaking)
            for pair in tuple(way.pairs):
                pair.reset()
            cuts += 1
        for sender in speaking:
            sender.stop()
        await _all_came(speaking, hearing)
    effects = [await _effects(bus, sender, hearing) for sender in speaking]
    said = sum(len(sender.sent) for sender in speaking)
    record(
        Outcome(
            "connections of clients that say something are cut",
            f"{count} clients, {len(ids)} sessions, {TOGETHER} messages at a time",
            f"{cuts} cuts of all connections, {on_their_way} messages on their way",
            total(effects),
            remarks=f"{said} messages; effects: an event of the log and a mail to the agent",
        )
    )
    assert cuts < on_their_way
    assert all(sender.acknowledged == set(sender.sent) for sender in speaking)


async def _effects(bus: Bus, sender: Sender, hearing: list[Hearer]) -> Tally:
    """Of what a client sent in the log and in the agent's mail, and of the log at the client."""
    log = [event.data.content for event in await events_of(bus, sender.session_id) if event.type == "user"]
    heard = next(hearer.heard for hearer in hearing if hearer.session_id == sender.session_id)
    places = [[text for text in texts if sender.said(text)] for texts in (log, heard)]
    return total(Tally.of(sender.sent, texts) for texts in places) + Tally.of(log, sender.seen)


async def _all_came(speaking: list[Sender], hearing: list[Hearer]) -> None:
    """Returns when all that was said was acknowledged, seen and heard, or the time is over."""
    try:
        async with asyncio.timeout(SETTLED_S):
            for sender in speaking:
                await sender.settled([other for other in speaking if other.session_id == sender.session_id])
            said = sum(len(sender.sent) for sender in speaking)
            while sum(len(hearer.heard) for hearer in hearing) < said:  # noqa: ASYNC110 - it looks so often itself
                await asyncio.sleep(TICK_S)
    except TimeoutError:
        pass  # what did not come counts as lost
