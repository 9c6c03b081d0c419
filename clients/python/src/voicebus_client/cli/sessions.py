"""`sessions`: the caller's sessions, page by page."""

from collections.abc import Sequence

import orjson

from voicebus_client.cli.terminal import Terminal
from voicebus_client.client import Voicebus
from voicebus_client.models import SessionInfo

_NAMES = ("SESSION", "STATUS", "MODE", "AGENT", "TURNS", "CREATED")


async def sessions(bus: Voicebus, terminal: Terminal, *, cursor: str | None, limit: int, as_json: bool) -> None:
    """Prints a page, and beside it how to get the next one.

    Raises:
        VoicebusError: the server refused.
    """
    found, following = await bus.session_page(cursor, limit=limit)
    if as_json:
        for session in found:
            terminal.line(orjson.dumps(session).decode())
    elif found:
        terminal.table(_NAMES, [_row(session) for session in found])
    else:
        terminal.note("no sessions", "dim")
    if following:
        terminal.note(f"more: voicebus sessions --cursor {following}", "dim")


def _row(session: SessionInfo) -> Sequence[str]:
    return (
        *(session.session_id, session.status, session.mode, session.agent_type),
        *(str(session.turn), when(session.created_at)),
    )


def when(timestamp: str) -> str:
    """A time of the server to the minute, in UTC."""
    return timestamp[:16].replace("T", " ")
