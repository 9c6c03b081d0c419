"""Where one client stands in a session, and what it is sent next. Pure: `follower.py` does the reading.

While `reading`, pages of the log go to the client and live items are kept back; the last page joins both. While live,
an item goes out if it is the next one, is dropped if it is older, and shows a hole if it is newer: then the log is
read again.
"""

from collections.abc import Sequence

from voicebus.bus.items import EphemeralItem, EventItem, Item, Page, SpeechItem
from voicebus.contract.positions import Position


class Backlog:
    """Items that wait, in order. Too much are more than `most`, or larger than `most_bytes` together."""

    __slots__ = ("_bytes", "_items", "_most", "_most_bytes")

    def __init__(self, most: int, most_bytes: int = 1_048_576) -> None:
        self._items: list[Item] = []
        self._bytes = 0
        self._most = most
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return len(self._items)

    def add(self, items: Sequence[Item]) -> bool:
        """Behind the others; returns whether too much waits now."""
        self._items += items
        self._bytes += sum(map(_size, items))
        return len(self._items) > self._most or self._bytes > self._most_bytes

    def take(self, most: int | None = None) -> list[Item]:
        """The first `most` of them, or all."""
        if most is None or most >= len(self._items):
            taken, self._items, self._bytes = self._items, [], 0
            return taken
        taken = self._items[:most]
        del self._items[:most]
        self._bytes -= sum(map(_size, taken))
        return taken


def _size(item: Item) -> int:
    return len(item.audio) if isinstance(item, SpeechItem) else len(item.body)


class Feed:
    """`position` is what has been given out."""

    __slots__ = ("_again", "_epoch", "_kept", "_seq", "_speech", "reading")

    def __init__(self, position: Position, most_kept: int = 1_024) -> None:
        self.position = position
        self.reading = True
        self._kept = Backlog(most_kept)
        self._again = False  # something was missed during the read that is under way

    @property
    def position(self) -> Position:
        """What has been given out."""
        return Position(epoch=self._epoch, seq=self._seq, speech=self._speech)

    @position.setter
    def position(self, position: Position) -> None:
        self._epoch, self._seq, self._speech = position.epoch, position.seq, position.speech

    def page(self, page: Page) -> list[Item]:
        """What to send of a page, and of what came live meanwhile if the page is the last one."""
        out: list[Item] = list(page.items)
        self.position = page.position
        if page.complete and not self._again:
            self.reading = False
            kept = self._kept.take()
            out += [item for item in kept if item.epoch == page.position.epoch and self.live(item)]
            if any(item.epoch != page.position.epoch for item in kept):
                self.reading = True  # they are in the log, if anywhere
        self._again = False
        return out

    def live(self, item: Item) -> bool:
        """Whether to send this item now that it was published."""
        if type(item) is EventItem and item.seq == self._seq + 1 and item.epoch == self._epoch and not self.reading:
            self._seq = item.seq  # nearly always
            return True
        if self.reading:
            self._keep(item)
            return False
        if item.epoch != self._epoch:
            return self._missed_before(item)
        if isinstance(item, EventItem):
            return item.seq > self._seq and self._missed_before(item)
        if item.seq > self._seq:
            return self._missed_before(item)
        if isinstance(item, EphemeralItem):
            return item.seq == self._seq
        if item.n == self._speech + 1:
            self._speech = item.n
            return True
        return item.n > self._speech and self._missed_before(item)

    def read_again(self, sent: Position | None = None) -> None:
        """Something may be missing, or the client fell behind: go on from the log, from what was really sent."""
        self._again = self.reading
        self.reading = True
        if sent is not None:
            self.position = sent
            self._kept.take()

    def _missed_before(self, item: Item) -> bool:
        """Shows a hole; it is in the log, too, if anywhere."""
        self.read_again()
        self._keep(item)
        return False

    def _keep(self, item: Item) -> None:
        if isinstance(item, EphemeralItem):
            return
        if self._kept.add([item]):
            self._kept.take()
            self._again = True
