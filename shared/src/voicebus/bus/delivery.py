"""Mail as its stage's owner gets it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from voicebus.bus.sessions import session_of
from voicebus.contract.codec import load_mail
from voicebus.contract.mail import Mail
from voicebus.contract.sessions import Session


@dataclass(frozen=True, slots=True)
class Delivery:
    """The mail that a stage works at next, with all that is known of earlier attempts."""

    id: str
    mail: Mail
    attempt: int  # 1 is the first
    cancelled: bool  # its turn was interrupted: only outcomes are recorded, and the cursor moves
    note: str  # what the last owner left
    # For the agent only:
    response: str = ""  # id of the model response that was cut, '' if none was
    response_from: int = 0  # seq of its first event
    journal: Sequence[bytes] = ()  # finished steps of the turn
    history: Sequence[bytes] = ()  # earlier turns, oldest first
    session: Session | None = None


def order(mail_id: str) -> tuple[int, int]:
    """A mail's place in its mailbox, to be compared."""
    time_ms, _, count = mail_id.partition("-")
    return int(time_ms), int(count)


def fields_of(flat: Sequence[bytes] | dict[bytes, bytes]) -> dict[bytes, bytes]:
    """A stream entry's fields, from RESP2's flat list or RESP3's map."""
    return flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))


def delivery_of(values: Sequence[Any]) -> Delivery:
    """The delivery in the reply of `next`, or in what came along with a wake-up."""
    mail_id, flat, attempt, cancelled, note, *of_agent = values
    delivery = Delivery(
        id=mail_id.decode(),
        mail=load_mail(fields_of(flat)),
        attempt=attempt,
        cancelled=bool(cancelled),
        note=note.decode(),
    )
    if not of_agent:
        return delivery
    response, response_from, journal, history, fields = of_agent
    return replace(
        delivery,
        response=response.decode(),
        response_from=int(response_from or 0),
        journal=journal,
        history=history,
        session=session_of(fields),
    )
