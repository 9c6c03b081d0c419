"""Well-behaved clients beside one that is not: they must notice nothing."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

from support.processes import RunningGateway
from support.sessions import events_of, open_session
from support.wire import Message, Wire, wire

from voicebus.bus.bus import Bus
from voicebus.contract.events import User
from voicebus.contract.keys import Stage


async def said_in(bus: Bus, session_id: str) -> list[str]:
    """The texts that opened the session's turns."""
    return [event.data.content for event in await events_of(bus, session_id) if isinstance(event, User)]


def acknowledges(message_id: str) -> Callable[[Message], bool]:
    return lambda message: message["type"] == "ack" and message["data"]["id"] == message_id


@dataclass
class Neighbours:
    """Well-behaved clients: one in the session, one in another session."""

    bus: Bus
    session_id: str
    clients: dict[str, Wire]  # by session
    accepted: dict[str, list[str]] = field(default_factory=dict)  # texts, by session

    async def talk(self) -> None:
        """Each says something, is told that it is accepted, and sees it."""
        for session_id, client in self.clients.items():
            text = uuid4().hex
            await client.send(type="text", id=text, content=text)
            await client.until(acknowledges(text))
            self.accepted.setdefault(session_id, []).append(text)

    async def noticed_nothing(self) -> None:
        """Nothing but the conversation came to them, and all of it is in the logs."""
        for session_id, client in self.clients.items():
            assert {message["type"] for message in client.seen} <= {"welcome", "ack", "user"}
            said = await said_in(self.bus, session_id)
            assert [text for text in said if text in self.accepted[session_id]] == self.accepted[session_id]

    async def nothing_waits_for(self, *stages: Stage) -> None:
        """No refused message left mail for these stages."""
        for stage in stages:
            assert await self.bus.calls.command("XLEN", self.bus.keys.of(self.session_id).mail(stage)) == 0


@asynccontextmanager
async def neighbours_at(gateway: RunningGateway, bus: Bus, session_id: str) -> AsyncIterator[Neighbours]:
    """They talk at the beginning and at the end."""
    async with AsyncExitStack() as stack:
        clients = {}
        for each in (session_id, await open_session(bus)):
            clients[each] = await stack.enter_async_context(wire(gateway, each))
            await clients[each].until("welcome")
        neighbours = Neighbours(bus, session_id, clients)
        await neighbours.talk()
        yield neighbours
        await neighbours.talk()
        await neighbours.noticed_nothing()


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels
