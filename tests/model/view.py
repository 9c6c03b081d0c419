"""What one client has been given of a session: the part of the pure model that concerns it."""

from dataclasses import dataclass

from model.demand import demand
from model.expected import Expected

from voicebus.bus.items import EphemeralItem, EventItem, Item
from voicebus.contract.positions import GapRange


@dataclass
class View:
    """What one client has been given: all of it, once each, in order."""

    expected: Expected
    seq: int = 0
    n: int = 0
    last: tuple[int, int, int] = (0, 0, 0)
    newest: bytes = b""  # event `seq`, if it was given

    def take(self, item: Item) -> None:
        """The client is given this."""
        if isinstance(item, EphemeralItem):
            demand(item.seq == self.seq, "an ephemeral event at the wrong place:", item, self)
            return
        place = (item.seq, 0, 0) if isinstance(item, EventItem) else (item.seq, 1, item.n)
        demand(place > self.last, "misplaced:", item, "behind", self.last)
        self.last = place
        if isinstance(item, EventItem):
            demand(item.seq == self.seq + 1, "lost or repeated before", item, "behind", self.seq)
            demand(self.expected.events[item.seq - 1] == item.body, "another event than published:", item)
            self._still_true()
            self.seq, self.newest = item.seq, item.body
        else:
            self.skip(item.n - 1)
            self.n = item.n

    def skip(self, to: int) -> None:
        """No speech up to `to` will come."""
        lost = [n for n in range(self.n + 1, to + 1) if not self.expected.void(n)]
        demand(not lost, "speech lost without a word:", lost)
        self.n = max(self.n, to)

    def gap(self, gap: GapRange) -> None:
        """The client is told of a gap, and forgets what it had of it."""
        trimmed = gap.reason == "trimmed"
        demand(trimmed or self.expected.rolled_back, "an untrue gap:", gap)
        if gap.stream == "speech":
            self.n = max(self.n, gap.last) if trimmed else min(self.n, gap.first - 1)
        elif trimmed:
            demand(gap.first == self.seq + 1, "a gap at the wrong place:", gap, self)
            self.seq, self.newest = gap.last, b""
        elif gap.first <= self.seq:
            self.seq, self.newest = gap.first - 1, b""
        if not trimmed:
            self.last = (0, 0, 0)  # speech that was void when its place came may be valid again: it comes late

    def _still_true(self) -> None:
        """What the client had last is what the log holds there, also when Redis came back with older data."""
        held = self.expected.events[self.seq - 1] if self.seq else b""
        demand(self.newest in (b"", held), "the client was not told that it lost", self.seq, self.newest)
