"""Somebody cuts in, in each state of a turn: from then on nothing of it is sent, and it stands as it was heard.

The socket is a bare one: no client of ours leaves something out.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults.comparison import Comparison
from faults.model_server import SAY
from faults.scenario import FULL, Outcome, Record, takes_long
from faults.scripted import QUESTION, Scripted, scripted
from faults.tally import Tally
from support.process_tree import soon, until
from support.processes import RunningGateway
from support.wire import Message, Wire, wire

from voicebus.contract.sessions import HistoryEntry

ROUNDS = 5 if FULL else 1  # of each state
OLD, NEXT = 1, 2  # turns
HEARD_MS = 10  # less than the first word takes
LONG = SAY + "|".join(f"This is sentence {number}. " for number in range(100))  # the model takes seconds to say it


@dataclass
class Case:
    """A session whose first turn is cut short."""

    running: Scripted
    client: Wire
    session_id: str
    found: Comparison = field(default_factory=Comparison)
    early: bool = False  # the turn was not answered to its end when it was cut

    async def cut(self, played_ms: int | None = None) -> Message:
        """Interrupts the turn; the event that says so."""
        more = {} if played_ms is None else {"played_ms": played_ms}
        await self.client.send(type="interrupt", id="cut", turn=OLD, **more)
        interrupted = await self.client.until("interrupted")
        self.early = not any(message["type"] == "response" for message in self.client.seen)
        return interrupted

    async def entry(self) -> HistoryEntry:
        """The turn in the history, as soon as it is there."""
        async with asyncio.timeout(20):
            while not (raws := await self.running.turns.bus.sessions.history(self.session_id)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # nobody is told
        return HistoryEntry.model_validate_json(raws[0])

    def expect(self, name: str, wanted: object, got: object) -> None:
        """Two values that should be equal."""
        self.found.check(name, [wanted], [got])


async def thinking(case: Case) -> None:
    """The model was asked and has said nothing."""
    asked = len(case.running.model.requests)
    case.running.model.may_answer.clear()
    await case.client.send(type="text", id="first", content=QUESTION)
    await until(lambda: len(case.running.model.requests) > asked)
    interrupted = await case.cut()
    case.running.model.may_answer.set()
    case.expect("heard", "", interrupted["data"]["heard"])
    entry = await case.entry()
    case.expect("history", ("", True), (entry.assistant, entry.interrupted))


async def in_a_tool(case: Case) -> None:
    """The tool that may be called once has had its effect and does not answer."""
    effects = case.running.effects
    effects.hold("add")
    await case.client.send(type="text", id="first", content=QUESTION)
    await until(lambda: effects.of(case.session_id, "add") != [])
    await case.cut(played_ms=HEARD_MS)
    await soon(lambda: effects.called_off(case.session_id, "add") > 0)
    case.expect("calls told to stop", 1, effects.called_off(case.session_id, "add"))
    effects.release()
    entry = await case.entry()
    case.expect("effects", ["19 23"], effects.of(case.session_id, "add"))
    results = [part for message in entry.messages for part in _parts(message) if part["part_kind"] == "tool-return"]
    case.expect(
        "results",
        [("current_time", "success"), ("add", "interrupted")],
        [(part["tool_name"], part.get("outcome", "success")) for part in results],
    )


async def speaking(case: Case) -> None:
    """A sentence of the answer is out, and the model goes on."""
    await case.client.send(type="text", id="first", content=LONG)
    await _cut_behind(case, lambda message: message["type"] == "tts" and message["data"]["segment"] == 1)


async def at_the_last_chunk(case: Case) -> None:
    """All is answered and spoken, and only being heard."""
    await case.client.send(type="text", id="first", content=QUESTION)
    response = await case.client.until("response")
    last = response["data"]["segments"] - 1
    await _cut_behind(case, lambda message: message["type"] == "tts" and message["data"]["segment"] == last)


STATES: tuple[Callable[[Case], Awaitable[None]], ...] = (thinking, in_a_tool, speaking, at_the_last_chunk)


async def _cut_behind(case: Case, wanted: Callable[[Message], bool]) -> None:
    """Cuts in at the last chunk of this sentence, when exactly the sentences before it have been heard."""
    last = next((message for message in case.client.seen if _ends(message, wanted)), None)
    last = last or await case.client.until(lambda message: _ends(message, wanted))
    before = [m for m in case.client.seen if m["type"] == "tts" and m["data"]["segment"] < last["data"]["segment"]]
    samples = sum(len(message["data"]["audio"]) for message in before) / 2
    interrupted = await case.cut(played_ms=round(samples * 1000 / last["data"]["sample_rate"]))
    heard = " ".join(message["data"]["text"] for message in before if message["data"].get("text"))
    case.expect("heard", heard, interrupted["data"]["heard"])
    entry = await case.entry()
    case.expect("history", heard, entry.cut.heard if entry.cut else None)


def _ends(message: Message, wanted: Callable[[Message], bool]) -> bool:
    return wanted(message) and message["data"]["is_last"]


def _parts(message: object) -> list[dict[str, str]]:
    assert isinstance(message, dict)
    return list(message["parts"])


@asynccontextmanager
async def case_of(running: Scripted) -> AsyncIterator[Case]:
    """A session of its own."""
    session = await running.turns.voicebus.create_session()
    gateway = RunningGateway(running.gateways.ports[0], running.gateways[0])
    async with wire(gateway, session.session_id, "?audio=binary") as client:
        yield Case(running, client, session.session_id)


async def go_on(case: Case) -> None:
    """The next question is answered to its end, and nothing of the old turn has come since it was interrupted."""
    await case.client.send(type="text", id="second", content=QUESTION)
    response = await case.client.until(lambda message: message["type"] == "response" and message["turn"] == NEXT)
    last = response["data"]["segments"] - 1
    over = next((m for m in case.client.seen if m.get("turn") == NEXT and _ends(m, _spoken(last))), None)
    if over is None:
        await case.client.until(lambda message: message.get("turn") == NEXT and _ends(message, _spoken(last)))
    seen = case.client.seen
    (at,) = [i for i, message in enumerate(seen) if message["type"] == "interrupted"]
    late = [message["type"] for message in seen[at + 1 :] if message.get("turn") == OLD]
    case.found.tally += Tally(misplaced=len(late))
    case.found.faults += [f"{kind} of the old turn" for kind in late]
    durable = [message["seq"] for message in seen if message.get("seq") and message["type"] != "welcome"]
    case.found.check("numbers", range(durable[0], durable[0] + len(durable)), durable)


def _spoken(segment: int) -> Callable[[Message], bool]:
    return lambda message: message["type"] == "tts" and message["data"]["segment"] == segment


@takes_long
@pytest.mark.timeout(300)
async def test_nothing_of_a_turn_comes_after_it_was_interrupted_in_whatever_state(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    found, early = Comparison(), Counter[str]()
    async with scripted(redis_url, tmp_path, agents=1, environment={"LEASE_S": "9"}) as running:
        for _ in range(ROUNDS):
            for interrupt in STATES:
                async with case_of(running) as case:
                    await interrupt(case)
                    await go_on(case)
                    found.add(case.found, interrupt.__name__)
                    early[interrupt.__name__] += case.early
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "barge-in in each state of a turn",
            "turns with two tool calls, spoken",
            f"{ROUNDS * len(STATES)} interruptions: thinking, in a tool, speaking, at the last chunk",
            found.tally,
            remarks="events and speech of the old turn, what was heard, the tool's outcome",
        )
    )
    unfinished = (thinking, in_a_tool, speaking)
    assert early == Counter({state.__name__: ROUNDS for state in unfinished} | {at_the_last_chunk.__name__: 0})
