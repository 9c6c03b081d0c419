"""What readers of a session get, live or from its log: events, ephemeral events, speech.

Pure: it turns replies and published messages into items, and decides what is a gap.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from voicebus.contract.positions import GapRange, Position


@dataclass(slots=True)
class EventItem:
    """A durable event, serialised."""

    epoch: str
    seq: int
    body: bytes


@dataclass(slots=True)
class EphemeralItem:
    """An event that is not stored; `seq` is the log's head when it was published."""

    epoch: str
    seq: int
    body: bytes


@dataclass(slots=True)
class SpeechItem:
    """A speech chunk: JSON header (it ends with two closing braces) and raw audio."""

    epoch: str
    seq: int  # the last event before it
    n: int
    header: bytes
    audio: bytes


Item = EventItem | EphemeralItem | SpeechItem


@dataclass(frozen=True, slots=True)
class Page:
    """What one look at log and speech gave, in order; `position` is where the next look goes on."""

    position: Position
    head: Position
    items: list[EventItem | SpeechItem] = field(default_factory=list)
    gaps: list[GapRange] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether the reader has reached both heads."""
        return self.position == self.head


def parse_live(message: bytes) -> Item:
    """The item in a message of a session's channel.

    `e|epoch|seq|event`, `p|epoch|seq|event` or `s|epoch|seq|n|header length|header+audio`.
    """
    kind, epoch, seq, rest = message.split(b"|", 3)
    if kind == b"e":
        return EventItem(epoch.decode(), int(seq), rest)
    if kind == b"p":
        return EphemeralItem(epoch.decode(), int(seq), rest)
    n, length, rest = rest.split(b"|", 2)
    size = int(length)
    return SpeechItem(epoch.decode(), int(seq), int(n), rest[:size], rest[size:])


def page_of(reply: Sequence[Any], asked: Position) -> Page:
    """The page behind `asked` in the read script's reply.

    A page that is cut short by one of its limits ends where both streams are known, so that neither overtakes the
    other across pages.
    """
    raw_epoch, head_seq, head_n, valid, valid_n, trimmed_n, raw_events, raw_chunks, more_events, more_chunks = reply
    epoch = raw_epoch.decode()
    head = Position(epoch=epoch, seq=head_seq, speech=head_n)
    changed = bool(asked.epoch) and asked.epoch != epoch
    seq, gap = _resume("events", asked.seq, valid, changed=changed)
    n, speech_gap = _resume("speech", asked.speech, valid_n, changed=changed)
    gaps = [g for g in (gap, speech_gap) if g]

    events = [EventItem(epoch, int(s), body) for s, body in zip(raw_events[::2], raw_events[1::2], strict=True)]
    chunks = [
        SpeechItem(epoch, int(raw_chunks[i + 1]), int(raw_chunks[i]), raw_chunks[i + 2], raw_chunks[i + 3])
        for i in range(0, len(raw_chunks), 4)
    ]
    first = events[0].seq if events else head_seq + 1
    if first > seq + 1:
        gaps.append(GapRange(stream="events", first=seq + 1, last=first - 1, reason="trimmed"))
        seq = first - 1
    if trimmed_n > n:
        gaps.append(GapRange(stream="speech", first=n + 1, last=trimmed_n, reason="trimmed"))
        n = trimmed_n

    known_to = min(
        (events[-1].seq, 2, 0) if more_events and events else _END,
        _order(chunks[-1]) if more_chunks and chunks else _END,
    )
    both: list[EventItem | SpeechItem] = [*events, *chunks]
    items = sorted((item for item in both if _order(item) <= known_to), key=_order)
    if known_to == _END:
        return Page(position=head, head=head, items=items, gaps=gaps)
    position = Position(
        epoch=epoch,
        seq=max((item.seq for item in items if isinstance(item, EventItem)), default=seq),
        speech=max((item.n for item in items if isinstance(item, SpeechItem)), default=n),
    )
    return Page(position=position, head=head, items=items, gaps=gaps)


_END = (sys.maxsize, 0, 0)


def _order(item: EventItem | SpeechItem) -> tuple[int, int, int]:
    """Events before the speech that follows them."""
    return (item.seq, 1, item.n) if isinstance(item, SpeechItem) else (item.seq, 0, 0)


def _resume(
    stream: Literal["events", "speech"], asked: int, valid: int, *, changed: bool
) -> tuple[int, GapRange | None]:
    """Where the reader goes on, and what it must forget of what it thought it had."""
    if asked <= valid:
        return asked, None
    reason: Literal["epoch_changed", "ahead"] = "epoch_changed" if changed else "ahead"
    return valid, GapRange(stream=stream, first=valid + 1, last=asked, reason=reason)
