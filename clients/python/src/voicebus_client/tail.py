"""`tail`: follows a session's events."""

from voicebus_client.client import Voicebus
from voicebus_client.position import Position
from voicebus_client.terminal import Terminal, log_line


async def tail(bus: Voicebus, terminal: Terminal, session_id: str, after: Position | None) -> None:
    """Prints each event, from a position or from now on, until the session ends.

    Raises:
        VoicebusError: the server refused.
    """
    async with bus.connect(session_id, position=after) as connection:
        try:
            async for event in connection:
                terminal.line(log_line(event))
        finally:
            terminal.note(f"position {connection.position}")
