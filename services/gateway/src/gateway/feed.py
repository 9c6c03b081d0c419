"""Where one client stands in a session, and what it is sent next. Pure: `follower.py` does the reading.

While `reading`, pages of the log go to the client and live items are kept back; the last page joins both. While live,
an item goes out if it is the next one, is dropped if it is older, and shows a hole if it is newer: then the log is
read again.
"""

from collections import deque
from dataclasses import dataclass, field

from voicebus.bus.items import EphemeralItem, EventItem, Item, Page, SpeechItem
from voicebus.contract.positions import Position


@dataclass(slots=True)
class Feed:
    """`position` is what has been given out."""

    position: Position
    most_kept: int = 1_024
    reading: bool = True
    _kept: deque[Item] = field(default_factory=deque)
    _again: bool = False  # something was missed during the read that is under way

    def page(self, page: Page) -> list[Item]:
        """What to send of a page, and of what came live meanwhile if the page is the last one."""
        out: list[Item] = list(page.items)
        self.position = page.position
        if page.complete and not self._again:
            self.reading = False
            kept, self._kept = self._kept, deque()
            for item in kept:
                out += self.live(item)
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
            self._kept.clear()

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
        if len(self._kept) >= self.most_kept:
            self._kept.clear()
            self._again = True
        self._kept.append(item)
