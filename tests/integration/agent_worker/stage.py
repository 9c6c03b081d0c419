"""What the tests of the agent stage share: a session, workers for it, models with a script, and what clients see."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, cast

from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from agent_worker.agent import Agent
from agent_worker.models.choose import explainer
from agent_worker.respond import Responder
from agent_worker.settings import AgentSettings
from agent_worker.tools.toolset import Toolset, open_toolset
from voicebus.bus.bus import Bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.items import EventItem
from voicebus.bus.lease import Lease
from voicebus.chassis.held import Held
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.chassis.worker import Worker
from voicebus.contract.errors import LeaseLost
from voicebus.contract.events import Envelope
from voicebus.contract.mail import Sentence
from voicebus.contract.payloads import Mode
from voicebus.contract.positions import Position
from voicebus.contract.sessions import HistoryEntry, NewSession

Step = str | float | asyncio.Event | DeltaToolCall | Exception
Script = Callable[[list[ModelMessage]], Sequence[Step]]


class Scripted:
    """A model that says what its script says to the messages: texts, tool calls, what to wait for, failures."""

    def __init__(self, script: Script) -> None:
        self.requests: list[list[ModelMessage]] = []
        self.infos: list[AgentInfo] = []
        self._script = script
        self.model = FunctionModel(stream_function=self._stream, model_name="scripted")

    async def _stream(
        self, messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        self.requests.append(messages)
        self.infos.append(info)
        for number, step in enumerate(self._script(messages)):
            match step:
                case Exception():
                    raise step
                case float():
                    await asyncio.sleep(step)
                case asyncio.Event():
                    await step.wait()
                case str():
                    yield step
                case DeltaToolCall():
                    yield {number: step}


def call(name: str, call_id: str = "c1", /, **arguments: Any) -> DeltaToolCall:
    return DeltaToolCall(name, json.dumps(arguments), tool_call_id=call_id)


def prompt(messages: list[ModelMessage]) -> str:
    """What the user said last."""
    parts = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    return str(parts[-1].content)


def greet(messages: list[ModelMessage]) -> list[Step]:
    """A script without tools: three tokens that repeat what the user said."""
    return ["Hello, ", "you said ", f"{prompt(messages)}."]


def results(messages: list[ModelMessage]) -> list[ToolReturnPart]:
    """The results of the tools that were called last, none if the user spoke last."""
    last = messages[-1]
    assert isinstance(last, ModelRequest)
    return [part for part in last.parts if isinstance(part, ToolReturnPart)]


class Conversation:
    """A session as its client knows it."""

    def __init__(self, bus: Bus, session_id: str) -> None:
        self.bus = bus
        self.session_id = session_id

    async def say(self, text: str) -> int:
        accepted = await self.bus.inbox.submit(self.session_id, text, agent_type="personal")
        assert accepted.turn is not None
        return accepted.turn

    async def interrupt(self) -> None:
        await self.bus.inbox.interrupt(self.session_id, agent_type="personal")

    async def events(self) -> list[dict[str, Any]]:
        page = await self.bus.log.read(self.session_id, Position(seq=0), most_events=5_000)
        return [json.loads(item.body) for item in page.items if isinstance(item, EventItem)]

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """All events, once there are so many of this kind."""
        async with asyncio.timeout(20):
            while True:
                events = await self.events()
                if sum(event["type"] == kind for event in events) >= count:
                    return events
                await asyncio.sleep(0.005)

    async def history(self) -> list[HistoryEntry]:
        return [HistoryEntry.model_validate_json(raw) for raw in await self.bus.sessions.history(self.session_id)]

    async def sentences(self) -> list[dict[str, Any]]:
        """What was mailed to TTS, with its response."""
        entries = await self.bus.calls.command("XRANGE", self.bus.keys.of(self.session_id).mail("tts"), "-", "+")
        found = [
            fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
            for _, fields in entries
        ]
        return [json.loads(fields[b"d"]) for fields in found]

    async def speak(self, *, seconds: float) -> None:
        """The first sentence that waits for TTS, as so much speech."""
        speaker = await self.bus.stages("tts", "tts-1").lease(self.session_id)
        assert speaker is not None
        delivery = await speaker.next()
        assert delivery is not None
        assert isinstance(delivery.mail, Sentence)
        sentence = delivery.mail
        emission = Emission(sentence.turn, sentence.response_id).speech(
            Envelope(session_id=self.session_id, turn=sentence.turn),
            bytes(2 * round(16_000 * seconds)),
            segment=sentence.segment,
            sample_rate=16_000,
            is_last=True,
            text=sentence.text,
        )
        await speaker.emit(emission.cursor(delivery.id))
        await speaker.release()

    async def hear(self, *, seconds: float) -> None:
        """A client says that it played so much of the first turn's first sentence."""
        await self.bus.inbox.played(self.session_id, 1, 0, round(seconds * 1_000))

    async def barge_in(self) -> str:
        """Somebody speaks; what is to be joined."""
        await self.bus.calls.command("ZADD", self.bus.keys.of(self.session_id).ready("stt"), 0, self.session_id)
        listener = await self.bus.stages("stt", "stt-1").lease(self.session_id)
        assert listener is not None
        return await listener.interrupt("speech", agent_type="personal")


async def converse(bus: Bus, mode: Mode = "text", **fields: Any) -> Conversation:
    session, _ = await bus.sessions.open(NewSession(mode=mode, **fields), "ada")
    return Conversation(bus, session.session_id)


def scripted_agent(scripted: Scripted, tools: Toolset, **fields: Any) -> Agent:
    return agent_with(scripted.model, tools, **fields)


def agent_with(model: Model, tools: Toolset, **fields: Any) -> Agent:
    settings = AgentSettings(**fields)
    return Agent(model, tools, settings, settings.instructions(), explainer(model))


@asynccontextmanager
async def no_tools() -> AsyncIterator[Toolset]:
    async with open_toolset((), timeout_s=5, ready_within_s=0) as tools:
        yield tools


def agent(bus: Bus, scripted: Scripted, tools: Toolset, **fields: Any) -> AbstractAsyncContextManager[Worker]:
    """A worker of the agent stage with a scripted model."""
    return agent_of(bus, scripted.model, tools, **fields)


@asynccontextmanager
async def agent_of(bus: Bus, model: Model, tools: Toolset, **fields: Any) -> AsyncIterator[Worker]:
    """A worker of the agent stage, drained at the end."""
    responder = Responder(bus, agent_with(model, tools, **fields))
    worker = Worker(bus, "agent", "agent-1", mail_by_mail("agent", responder.handle), capacity=8)
    async with model, asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.run(drain_s=5))
        try:
            yield worker
        finally:
            worker.drain()


class Doomed:
    """A lease whose owner dies at its `at`th write, or at the first that contains `at`: before or after it counts."""

    def __init__(self, lease: Lease, at: int | bytes, *, before: bool) -> None:
        self.died = asyncio.Event()
        self.session_id = lease.session_id
        self._lease = lease
        self._at = at
        self._writes = 0
        self._before = before

    async def emit(self, *emissions: Emission) -> int:
        if self.died.is_set():
            raise LeaseLost
        self._writes += 1
        if not self._deadly(emissions):
            return await self._lease.emit(*emissions)
        if not self._before:
            await self._lease.emit(*emissions)
        self.died.set()
        await asyncio.Event().wait()
        raise LeaseLost

    def _deadly(self, emissions: Sequence[Emission]) -> bool:
        if isinstance(self._at, int):
            return self._writes == self._at
        parts = [part for emission in emissions for part in emission.operations if isinstance(part, bytes)]
        return any(self._at in part for part in parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lease, name)


async def answer_once(bus: Bus, responder: Responder, conversation: Conversation, name: str) -> Delivery:
    """Lease the session when it is free, and handle one mail."""
    lease, delivery = await take(bus, conversation, name)
    await responder.handle(Held(lease, asyncio.Event()), delivery)
    await lease.release()
    return delivery


async def answer_and_die(
    bus: Bus, responder: Responder, conversation: Conversation, name: str, at: int | bytes, *, before: bool
) -> bool:
    """As `answer_once`, but the worker dies at a write; False if it was done earlier."""
    lease, delivery = await take(bus, conversation, name)
    doomed = Doomed(lease, at, before=before)
    held = Held(cast("Lease", doomed), asyncio.Event())
    working = asyncio.create_task(responder.handle(held, delivery))
    dying = asyncio.create_task(doomed.died.wait())
    await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
    dying.cancel()
    if working.done():
        await working
        return False
    working.cancel()
    await asyncio.wait((working,))
    return True


async def take(bus: Bus, conversation: Conversation, name: str) -> tuple[Lease, Delivery]:
    stages = bus.stages("agent", name)
    async with asyncio.timeout(20):
        while (lease := await stages.lease(conversation.session_id)) is None:  # noqa: ASYNC110 - the old one expires
            await asyncio.sleep(0.01)
    delivery = await lease.next()
    assert delivery is not None
    return lease, delivery


def seen(events: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What a client shows in the end: tokens of a response joined, those that were taken back left out."""
    shown: list[tuple[Any, ...]] = []
    kept = [event for event in events if not _taken_back(event, events)]
    for event in kept:
        data = event["data"]
        match event["type"]:
            case "token" if shown and shown[-1][:2] == ("text", data["response_id"]):
                shown[-1] = (*shown[-1][:2], shown[-1][2] + data["token"])
            case "token":
                shown.append(("text", data["response_id"], data["token"]))
            case "user":
                shown.append(("user", data["content"]))
            case "tool_call":
                shown.append(("call", data["tool_call_id"], data["tool_name"], data["parameters"]))
            case "tool_result":
                shown.append(("result", data["tool_call_id"], data["result"], data["outcome"]))
            case "response":
                shown.append(("response", data["content"], data.get("intent"), data["segments"]))
            case "error":
                shown.append(("error", data["code"]))
    return [("text", item[2]) if item[0] == "text" else item for item in shown]


def _taken_back(event: dict[str, Any], events: list[dict[str, Any]]) -> bool:
    return event["type"] == "token" and any(
        later["type"] == "response_restarted"
        and later["seq"] > event["seq"] >= later["data"]["discard_from_seq"]
        and later["data"]["response_id"] == event["data"]["response_id"]
        for later in events
    )
