"""Where one client stands in a session, and what it is sent next. Pure: `follower.py` does the reading.

While `reading`, pages of the log go to the client and live items are kept back; the last page joins both. While live,
an item goes out if it is the next one, is dropped if it is older, and shows a hole if it is newer: then the log is
read again.
"""

from dataclasses import dataclass, field

from voicebus.bus.items import EphemeralItem, EventItem, Item, Page, SpeechItem
from voicebus.contract.positions import Position


class Backlog:
    """Items that wait, in order. `full` once they are more than `most`, or larger than `most_bytes` together."""

    def __init__(self, most: int, most_bytes: int = 1_048_576) -> None:
        self._items: list[Item] = []
        self._bytes = 0
        self._most = most
        self._most_bytes = most_bytes

    def __len__(self) -> int:
        return len(self._items)

    @property
    def full(self) -> bool:
        """Whether too much waits."""
        return len(self._items) > self._most or self._bytes > self._most_bytes

    def add(self, item: Item) -> None:
        """Behind the others."""
        self._items.append(item)
        self._bytes += len(item.audio) if isinstance(item, SpeechItem) else len(item.body)

    def take(self) -> list[Item]:
        """All of them; none is left."""
        taken, self._items, self._bytes = self._items, [], 0
        return taken


@dataclass(slots=True)
class Feed:
    """`position` is what has been given out."""

    position: Position
    most_kept: int = 1_024
    reading: bool = True
    _kept: Backlog = field(init=False)
    _again: bool = False  # something was missed during the read that is under way

    def __post_init__(self) -> None:
        self._kept = Backlog(self.most_kept)

    def page(self, page: Page) -> list[Item]:
        """What to send of a page, and of what came live meanwhile if the page is the last one."""
        out: list[Item] = list(page.items)
        self.position = page.position
        if page.complete and not self._again:
            self.reading = False
            kept = self._kept.take()
            for item in kept:
                if item.epoch == page.position.epoch:
                    out += self.live(item)
            if any(item.epoch != page.position.epoch for item in kept):
                self.reading = True  # they are in the log, if anywhere
        self._again = False
        return out

    def live(self, item: Item) -> list[Item]:
        """What to send now that this item was published: the item or nothing."""
        if self.reading:
            self._keep(item)
            return []
        at = self.position
        if item.epoch != at.epoch or self._shows_hole(item, at):
            self.read_again()
            self._keep(item)
            return []
        if isinstance(item, EphemeralItem):
            return [item] if item.seq == at.seq else []
        if isinstance(item, EventItem):
            if item.seq <= at.seq:
                return []
            self.position = Position(epoch=at.epoch, seq=item.seq, speech=at.speech)
            return [item]
        if item.n <= at.speech:
            return []
        self.position = Position(epoch=at.epoch, seq=at.seq, speech=item.n)
        return [item]

    def read_again(self, sent: Position | None = None) -> None:
        """Something may be missing, or the client fell behind: go on from the log, from what was really sent."""
        self._again = self.reading
        self.reading = True
        if sent is not None:
            self.position = sent
            self._kept.take()

    @staticmethod
    def _shows_hole(item: Item, at: Position) -> bool:
        if isinstance(item, EventItem):
            return item.seq > at.seq + 1
        if isinstance(item, SpeechItem):
            return item.seq > at.seq or item.n > at.speech + 1
        return item.seq > at.seq

    def _keep(self, item: Item) -> None:
        if isinstance(item, EphemeralItem):
            return
        self._kept.add(item)
        if self._kept.full:
            self._kept.take()
            self._again = True
