"""A session's state as a client sees it when it can't be told everything that happened."""

import orjson
from pydantic import JsonValue

from voicebus.bus.bus import Bus
from voicebus.contract.sessions import HistoryMessage, Session, conversation_of


async def conversation(bus: Bus, session_id: str) -> list[HistoryMessage]:
    """The conversation's messages, oldest first."""
    messages = []
    for entry in conversation_of(await bus.sessions.history(session_id)):
        if entry.user:
            messages.append(HistoryMessage(role="user", content=entry.user, turn=entry.turn))
        if entry.assistant:
            messages.append(HistoryMessage(role="assistant", content=entry.assistant, turn=entry.turn))
    return messages


def view(session: Session, history: list[HistoryMessage]) -> dict[str, JsonValue]:
    """The session with its conversation, as JSON values."""
    state: dict[str, JsonValue] = orjson.loads(session.model_dump_json())
    state["history"] = [message.model_dump() for message in history]
    return state


async def state_of(bus: Bus, session_id: str) -> dict[str, JsonValue]:
    """What a `state_snapshot` holds."""
    return view(await bus.sessions.get(session_id), await conversation(bus, session_id))
