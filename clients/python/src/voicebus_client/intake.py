"""What of the incoming events the application gets: each once, in order, and no hole that isn't told. Pure.

Durable events are numbered without holes; speech has its own numbers, which may skip (speech of an interrupted turn
is taken back), and each chunk names the event that it follows. So whatever was seen before is dropped, and whatever
leaves a hole makes the client connect again from its position.
"""

from dataclasses import replace

from voicebus_client.errors import BadFrame
from voicebus_client.events import Event
from voicebus_client.position import Position

_PATIENCE = 3  # times that the same hole is met before it is passed over, announced by a `gap`


class HoleFound(Exception):
    """The event does not follow the position: connect again from there."""


class Intake:
    """Follows one session over all of its connections.

    `position` is None until the first welcome, unless the application gave one.
    """

    def __init__(self, position: Position | None = None) -> None:
        self.position = position
        self.epoch = ""  # of the present connection
        self.ended = False  # `session_end` was taken
        self.astray = False  # the epoch changed under a connection: connect again to learn its name
        self._unsettled = False
        self._told = False  # this connection's welcome told of another epoch
        self._snapshot_due = False
        self._holes = 0
        self._hole_at: Position | None = None

    def joined(self, welcome: Event) -> bool:
        """A connection opened; returns whether what was acknowledged so far may be void.

        The position keeps its old epoch until the first item after the gaps that may follow: broken off in between,
        the next connection is told of the same gaps again.

        Raises:
            BadFrame: the welcome lacks a field.
        """
        epoch = str(welcome.data.get("epoch", ""))
        before, self.epoch = self.epoch or (self.position.epoch if self.position else ""), epoch
        self.astray = False
        self._snapshot_due = False
        if self.position is None:
            self.position = Position(epoch, welcome.number("seq"), welcome.number("speech"))
        elif self.position.speech is None:
            self.position = replace(self.position, speech=welcome.number("speech"))
        self._unsettled = self.position.epoch != epoch
        self._told = self.position.epoch not in ("", epoch)
        return before not in ("", epoch)

    def take(self, event: Event) -> tuple[Event, ...]:
        """What the application gets for this event: nothing if it was seen before.

        Raises:
            HoleFound: something before it is missing; the position is where to go on from.
            BadFrame: a field of it is missing.
        """
        position = self._here()
        if event.type == "gap":
            return self._gap(event, position)
        if self._is_due(event):
            self._snapshot_due = False
            return (event,)
        if self.astray:
            raise HoleFound
        if event.type == "tts":
            return self._speech(event, position)
        if event.seq is None:
            self._settle()
            return (event,)
        return self._durable(event, event.seq, position)

    def _here(self) -> Position:
        if self.position is None:
            raise BadFrame("bad_frame", "the first message was not a welcome")
        return self.position

    def _is_due(self, event: Event) -> bool:
        """Whether it is the snapshot that follows a gap: given whatever its number is, unless it is the next event."""
        at_next = event.seq is not None and event.seq == self._here().seq + 1
        return event.type == "state_snapshot" and self._snapshot_due and not at_next

    def _durable(self, event: Event, seq: int, position: Position) -> tuple[Event, ...]:
        if seq <= position.seq:
            return ()
        if seq > position.seq + 1:
            return (*self._hole(position.seq + 1, seq - 1), *self._advance(event, seq))
        return self._advance(event, seq)

    def _advance(self, event: Event, seq: int) -> tuple[Event, ...]:
        speech = self._here().speech or 0
        if event.type == "interrupted":
            speech = max(speech, event.number("speech_next") - 1)
        if event.type == "state_snapshot":
            self._snapshot_due = False
        self.ended = self.ended or event.type == "session_end"
        self._move(seq, speech)
        return (event,)

    def _speech(self, event: Event, position: Position) -> tuple[Event, ...]:
        n, after_seq = event.number("n"), event.number("after_seq")
        if n <= (position.speech or 0):
            return ()
        told: tuple[Event, ...] = ()
        if after_seq > position.seq:
            told = self._hole(position.seq + 1, after_seq)
        self._move(max(position.seq, after_seq), n)
        return (*told, event)

    def _hole(self, first: int, last: int) -> tuple[Event, ...]:
        """The `gap` that stands for a hole in the events which is still there after connecting again."""
        if self._hole_at != self.position:
            self._hole_at, self._holes = self.position, 0
        self._holes += 1
        if self._holes < _PATIENCE:
            raise HoleFound
        data = {"stream": "events", "from": first, "to": last, "reason": "missing"}
        return (Event("gap", data),)

    def _gap(self, event: Event, position: Position) -> tuple[Event, ...]:
        first, last, reason = event.number("from"), event.number("to"), event.data.get("reason")
        void = reason in ("epoch_changed", "ahead")
        if event.data.get("stream") == "speech":
            heard = position.speech or 0
            self.position = replace(position, speech=min(heard, max(first, 1) - 1) if void else max(heard, last))
        else:
            self.position = replace(
                position, seq=min(position.seq, max(first, 1) - 1) if void else max(position.seq, last)
            )
        self._snapshot_due = True
        self.astray = self.astray or (reason == "epoch_changed" and not self._told)
        return (event,)

    def _move(self, seq: int, speech: int) -> None:
        self._settle()
        self.position = Position(self._here().epoch, seq, speech)

    def _settle(self) -> None:
        """No more gaps of the joining follow: the position is one of the connection's epoch now."""
        if self._unsettled and not self.astray:
            self.position = replace(self._here(), epoch=self.epoch)
            self._unsettled = False
