"""A model of a session's log and speech, and of what a gateway sends from a position on."""

from dataclasses import dataclass, field
from typing import Any

from voicebus_client.events import Event
from voicebus_client.position import Position


@dataclass
class Chunk:
    """Speech after the event `after_seq`."""

    n: int
    after_seq: int
    audio: bytes


@dataclass
class SessionModel:
    """Everything that was said is unique, so a mix-up shows."""

    log: list[str] = field(default_factory=list)  # seq 1 first
    speech: list[Chunk] = field(default_factory=list)  # n 1 first
    epochs: list[tuple[str, int, int]] = field(default_factory=lambda: [("e0", 1, 1)])  # name, first seq, first n
    trimmed: int = 0  # events up to here are gone
    said: int = 0

    @property
    def epoch(self) -> str:
        return self.epochs[-1][0]

    @property
    def head(self) -> Position:
        return Position(self.epoch, len(self.log), len(self.speech))

    def append(self) -> None:
        self.said += 1
        self.log.append(f"event {self.said}")

    def speak(self) -> None:
        self.said += 1
        self.speech.append(Chunk(len(self.speech) + 1, len(self.log), f"chunk {self.said}".encode()))

    def restart(self, *, lost: int) -> None:
        """Redis comes back as another epoch, without the last `lost` events and the speech after them."""
        kept = max(self.trimmed, len(self.log) - lost)
        del self.log[kept:]
        self.speech = [chunk for chunk in self.speech if chunk.after_seq <= kept]
        self.epochs.append((f"e{len(self.epochs)}", len(self.log) + 1, len(self.speech) + 1))

    def trim(self, count: int) -> None:
        self.trimmed = min(len(self.log), self.trimmed + count)

    def welcome(self) -> Event:
        head = self.head
        return Event("welcome", {"epoch": head.epoch, "seq": head.seq, "speech": head.speech})

    def after(self, asked: Position) -> list[Event]:
        """Gaps, a snapshot if there are any, then what follows the position, in order."""
        base, base_n = self._valid(asked.epoch)
        reason = "ahead" if asked.epoch in ("", self.epoch) else "epoch_changed"
        seq, n = min(asked.seq, base), min(asked.speech or 0, base_n)
        gaps = []
        if asked.seq > base:
            gaps.append(_gap("events", base + 1, asked.seq, reason))
        if (asked.speech or 0) > base_n:
            gaps.append(_gap("speech", base_n + 1, asked.speech or 0, reason))
        if seq < self.trimmed:
            gaps.append(_gap("events", seq + 1, self.trimmed, "trimmed"))
            seq = self.trimmed
        snapshot = [Event("state_snapshot", {"state": {}})] if gaps else []
        return gaps + snapshot + self.items(seq, n)

    def items(self, seq: int, n: int) -> list[Event]:
        events = [
            ((s, 0, 0), Event("token", {"token": self.log[s - 1]}, seq=s)) for s in range(seq + 1, len(self.log) + 1)
        ]
        chunks = [((c.after_seq, 1, c.n), _tts(c)) for c in self.speech[n:]]
        return [event for _, event in sorted([*events, *chunks], key=lambda pair: pair[0])]

    def _valid(self, epoch: str) -> tuple[int, int]:
        """The last seq and n that a reader from this epoch can have seen."""
        head = self.head
        if epoch == "":
            return head.seq, head.speech or 0
        later = False
        seq, n = head.seq, head.speech or 0
        for name, first_seq, first_n in self.epochs:
            if later:
                seq, n = min(seq, first_seq - 1), min(n, first_n - 1)
            later = later or name == epoch
        return seq, n


def _gap(stream: str, first: int, last: int, reason: str) -> Event:
    return Event("gap", {"stream": stream, "from": first, "to": last, "reason": reason})


def _tts(chunk: Chunk) -> Event:
    return Event("tts", {"n": chunk.n, "after_seq": chunk.after_seq}, audio=chunk.audio)


@dataclass
class View:
    """What an application has been given; it complains about anything twice, and out of order."""

    events: dict[int, str] = field(default_factory=dict)
    chunks: dict[int, bytes] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    missing_chunks: set[int] = field(default_factory=set)

    def give(self, event: Event) -> None:
        data: Any = event.data
        if event.type == "gap":
            self._gap(data)
        elif event.type == "tts":
            assert data["n"] > max(self.chunks, default=0), "a chunk twice, or out of order"
            assert data["after_seq"] <= self.last, "a chunk before the event that it follows"
            self.chunks[data["n"]] = event.audio
        elif event.seq is not None:
            assert event.seq == self.last + 1, "an event twice, out of order, or after a silent hole"
            self.events[event.seq] = data["token"]

    @property
    def last(self) -> int:
        return max([0, *self.events, *self.missing])

    def _gap(self, data: Any) -> None:
        events = data["stream"] == "events"
        seen: dict[int, Any] = self.events if events else self.chunks
        missing = self.missing if events else self.missing_chunks
        if data["reason"] in ("epoch_changed", "ahead"):
            for number in [number for number in seen if number >= data["from"]]:
                del seen[number]
            missing.difference_update(range(data["from"], max(missing, default=0) + 1))
        else:
            missing.update(number for number in range(data["from"], data["to"] + 1) if number not in seen)
