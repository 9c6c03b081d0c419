"""Sessions to test with."""

from typing import Any

from voicebus.bus.bus import Bus
from voicebus.bus.items import EventItem
from voicebus.contract.codec import load_event
from voicebus.contract.events import Event
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession


async def open_session(bus: Bus, *texts: str, owner: str = "alice", **fields: Any) -> str:
    """A fresh session, Alice's by default, into which these texts were submitted; returns its id."""
    session, _ = await bus.sessions.open(NewSession.model_validate(fields), owner)
    for text in texts:
        await bus.inbox.submit(session.session_id, text, agent_type="personal")
    return session.session_id


async def events_of(bus: Bus, session_id: str) -> list[Event]:
    """The session's log."""
    position, found = Position(), []
    while True:
        page = await bus.log.read(session_id, position)
        found += [load_event(item.body) for item in page.items if isinstance(item, EventItem)]
        position = page.position
        if page.complete:
            return found
