"""What the scripts answer, as Python: a word, then values; some words mean an error of the contract."""

from collections.abc import Sequence
from typing import Any

from voicebus.contract.errors import LeaseLost, Refused

_REFUSALS = {
    b"gone": "session_not_found",
    b"ended": "session_ended",
    b"full": "overloaded",
    b"conflict": "id_conflict",
    b"busy": "audio_busy",
    b"taken": "audio_taken_over",
    b"closed": "audio_not_open",
}


def accepted(reply: Sequence[Any]) -> tuple[bytes, Sequence[Any]]:
    """The reply's word and values.

    Raises:
        Refused: the script refused, with the code that the client gets.
    """
    word = reply[0]
    if word in _REFUSALS:
        raise Refused(_REFUSALS[word], retry_after_ms=1_000 if word == b"full" else None)
    return word, reply[1:]


def owned(reply: Sequence[Any]) -> tuple[bytes, Sequence[Any]]:
    """The reply's word and values.

    Raises:
        LeaseLost: the token is not the stage's any more.
    """
    if reply[0] == b"stale":
        raise LeaseLost
    return reply[0], reply[1:]
