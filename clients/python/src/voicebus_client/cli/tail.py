"""`tail`: follows a session's events."""

import orjson

from voicebus_client.cli.terminal import Terminal, log_parts
from voicebus_client.client import Voicebus
from voicebus_client.events import Event
from voicebus_client.position import Position


async def tail(
    bus: Voicebus, terminal: Terminal, session_id: str, after: Position | None, *, as_json: bool = False
) -> None:
    """Prints each event, from a position or from now on, until the session ends.

    Raises:
        VoicebusError: the server refused.
    """
    async with bus.connect(session_id, position=after) as connection:
        try:
            async for event in connection:
                if as_json:
                    terminal.line(json_line(event))
                else:
                    terminal.parts(*log_parts(event))
        finally:
            terminal.note(f"position {connection.position}", "dim")


def json_line(event: Event) -> str:
    """The event as one line of JSON; of speech the number of bytes."""
    fields = {
        "seq": event.seq,
        "type": event.type,
        "turn": event.turn,
        "session_id": event.session_id,
        "agent_type": event.agent_type,
        "timestamp": event.timestamp,
        "data": event.data,
        "metadata": event.metadata,
        "audio_bytes": len(event.audio) or None,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value not in (None, "", {})}).decode()
