"""Messages on their way: each is kept until its acknowledgement, and sent again on every new connection. Pure.

The server takes a message id once, so sending again is always safe. What was acknowledged is remembered for a while:
if Redis rolls back to before that, the message is sent once more.
"""

from collections import deque
from dataclasses import dataclass

from voicebus_client.errors import OutboxFull, make_error


@dataclass(frozen=True, slots=True)
class Ack:
    """A message took effect; `seq` is the head of the log then."""

    id: str
    seq: int


@dataclass(slots=True)
class _Entry:
    id: str
    frame: str
    sent: bool = False  # on the present connection


@dataclass(frozen=True, slots=True)
class _Done:
    id: str
    frame: str
    epoch: str
    seq: int


class Outbox:
    """At most `limit` messages that wait, and the last `kept` that were acknowledged."""

    def __init__(self, limit: int = 256, kept: int = 64) -> None:
        self._limit = limit
        self._waiting: dict[str, _Entry] = {}
        self._done: deque[_Done] = deque(maxlen=kept)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, id: str, frame: str) -> bool:  # noqa: A002 - the wire's name
        """Takes a message; returns whether it is new (False: it waits already).

        Raises:
            OutboxFull: too many messages wait.
            VoicebusError: `id_conflict`: another message with this id waits.
        """
        present = self._waiting.get(id)
        if present is not None:
            if present.frame != frame:
                raise make_error("id_conflict", "Another message with this id waits already.", status=409)
            return False
        if len(self._waiting) >= self._limit:
            raise OutboxFull("outbox_full", f"{self._limit} messages wait for their acknowledgement", temporary=True)
        self._waiting[id] = _Entry(id, frame)
        return True

    def next(self) -> str | None:
        """The next message to send on this connection; it counts as sent."""
        for entry in self._waiting.values():
            if not entry.sent:
                entry.sent = True
                return entry.frame
        return None

    def linked(self) -> None:
        """A new connection: everything that waits is sent again, in its order."""
        for entry in self._waiting.values():
            entry.sent = False

    def acknowledged(self, id: str, seq: int, epoch: str) -> bool:  # noqa: A002 - the wire's name
        """The message took effect; returns whether it was waited for."""
        entry = self._waiting.pop(id, None)
        if entry is not None:
            self._done.append(_Done(id, entry.frame, epoch, seq))
        return entry is not None

    def refused(self, id: str) -> bool:  # noqa: A002 - the wire's name
        """The server refused the message; returns whether it was waited for."""
        return self._waiting.pop(id, None) is not None

    def void_above(self, seq: int, epoch: str) -> int:
        """What was acknowledged above `seq` in another epoch may be lost: it is sent again, before everything else.

        Returns how many messages that were.
        """
        lost = [done for done in self._done if done.epoch != epoch and done.seq > seq]
        if lost:
            kept = [done for done in self._done if done not in lost]
            self._done = deque(kept, maxlen=self._done.maxlen)
            again = {done.id: _Entry(done.id, done.frame) for done in lost}
            self._waiting = again | self._waiting
        return len(lost)
