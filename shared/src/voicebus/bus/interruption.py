"""Cuts turns short: on a client's word, or because somebody speaks."""

from collections.abc import Sequence
from typing import Any

from voicebus.bus.calls import Calls
from voicebus.bus.wire import Arg
from voicebus.contract.codec import event_body
from voicebus.contract.events import Envelope
from voicebus.contract.keys import SessionKeys


def opening(session_id: str, agent_type: str) -> bytes:
    """The body of an `interrupted` event up to its data, which the scripts add."""
    return event_body(Envelope(type="interrupted", session_id=session_id, agent_type=agent_type))[:-1]


async def interrupt(
    calls: Calls,
    keys: SessionKeys,
    head: tuple[Arg, Arg, Arg],
    *,
    agent_type: str,
    message_id: str,
    digest: int = 0,
    turn: int | None = None,
    played_ms: int | None = None,
    token: str = "",
) -> Sequence[Any]:
    """Runs the script; its reply. `head` begins the arguments of every script; `token` is the stt stage's."""
    reply: Sequence[Any] = await calls.script(
        "interrupt",
        (
            keys.session,
            keys.log,
            keys.speech,
            keys.mail("tts"),
            keys.seen,
            keys.mail("agent"),
            keys.history,
            keys.spoken,
        ),
        *head,
        message_id,
        digest,
        "" if turn is None else turn,
        "" if played_ms is None else played_ms,
        opening(keys.session_id, agent_type),
        token,
    )
    return reply
