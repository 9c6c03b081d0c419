"""Property: whatever is lost, repeated or delayed on the way, a client gets each item once and in order."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.feed import Backlog, Feed
from voicebus.bus.items import EphemeralItem, EventItem, Item, Page, SpeechItem
from voicebus.contract.positions import Position

EPOCH = "0123abcd"


class Session:
    """A session's log and speech as the bus would give them."""

    def __init__(self) -> None:
        self.items: list[EventItem | SpeechItem] = []
        self.seq = 0
        self.n = 0

    def publish(self, kind: str) -> Item:
        if kind == "event":
            self.seq += 1
            self.items.append(EventItem(EPOCH, self.seq, b"{}"))
        elif kind == "speech":
            self.n += 1
            self.items.append(SpeechItem(EPOCH, self.seq, self.n, b"{}", b""))
        else:
            return EphemeralItem(EPOCH, self.seq, b"{}")
        return self.items[-1]

    def page(self, position: Position | None, most: int) -> Page:
        head = Position(epoch=EPOCH, seq=self.seq, speech=self.n)
        if position is None:
            return Page(head, head)
        rest = [i for i in self.items if (i.n > position.speech if isinstance(i, SpeechItem) else i.seq > position.seq)]
        taken = rest[:most]
        at = Position(
            epoch=EPOCH,
            seq=max([position.seq, *(i.seq for i in taken if isinstance(i, EventItem))]),
            speech=max([position.speech, *(i.n for i in taken if isinstance(i, SpeechItem))]),
        )
        return Page(at, head, taken)


STEP = st.sampled_from(["event", "event", "speech", "ephemeral", "lose", "repeat", "read", "disconnect"])


@given(st.lists(STEP, max_size=60), st.integers(1, 5), st.integers(2, 8))
def test_each_item_once_and_in_order(steps: list[str], page_size: int, most_kept: int) -> None:
    session, feed, got = Session(), Feed(Position(epoch=EPOCH), most_kept=most_kept), list[Item]()
    last: Item | None = None
    for step in steps:
        if step == "read":
            if feed.reading:
                got += feed.page(session.page(feed.position, page_size))
        elif step == "disconnect":
            feed.read_again()
        elif step == "repeat":
            got += [last] if last and feed.live(last) else []
        elif step == "lose":
            session.publish("event")
        else:
            last = session.publish(step)
            got += [last] if feed.live(last) else []
    feed.read_again()
    while feed.reading:
        got += feed.page(session.page(feed.position, page_size))
    lasting = [item for item in got if not isinstance(item, EphemeralItem)]
    assert [i.seq for i in lasting if isinstance(i, EventItem)] == list(range(1, session.seq + 1))
    assert [i.n for i in lasting if isinstance(i, SpeechItem)] == list(range(1, session.n + 1))
    assert [item.seq for item in lasting] == sorted(item.seq for item in lasting)


@given(st.lists(st.sampled_from(["event", "ephemeral"]), max_size=30))
def test_an_ephemeral_event_never_comes_late(steps: list[str]) -> None:
    session, feed = Session(), Feed(Position(epoch=EPOCH))
    feed.page(session.page(feed.position, 10))
    seq = 0
    for step in steps:
        item = session.publish(step)
        if feed.live(item):
            assert item.seq >= seq
            seq = item.seq


def test_an_event_behind_a_hole_waits_for_what_is_missing() -> None:
    session, feed = Session(), Feed(Position(epoch=EPOCH))
    feed.page(session.page(feed.position, 10))
    session.publish("event")
    assert not feed.live(session.publish("event"))
    assert [item.seq for item in feed.page(session.page(feed.position, 10))] == [1, 2]


def test_speech_waits_for_the_event_that_it_follows() -> None:
    session, feed = Session(), Feed(Position(epoch=EPOCH))
    feed.page(session.page(feed.position, 10))
    session.publish("event")
    assert not feed.live(session.publish("speech"))
    assert [type(item) for item in feed.page(session.page(feed.position, 10))] == [EventItem, SpeechItem]


def test_another_epoch_makes_the_client_read_again() -> None:
    session, feed = Session(), Feed(Position(epoch=EPOCH))
    feed.page(session.page(feed.position, 10))
    assert not feed.live(EventItem("ffffffff", 1, b"{}"))
    assert feed.reading


def test_a_loss_during_a_read_makes_it_read_once_more() -> None:
    session, feed = Session(), Feed(Position(epoch=EPOCH))
    page = session.page(feed.position, 10)
    session.publish("event")
    feed.read_again()
    feed.page(page)
    assert feed.reading
    assert [item.seq for item in feed.page(session.page(feed.position, 10))] == [1]


def test_a_backlog_is_full_by_number_and_by_size() -> None:
    few, large = Backlog(2), Backlog(100, most_bytes=1_000)
    for _ in range(2):
        for n in range(2):
            assert not few.add([EventItem(EPOCH, n, b"{}")])
            assert not large.add([SpeechItem(EPOCH, 1, n, b"{}", bytes(500))])
        assert few.add([EphemeralItem(EPOCH, 3, b"")])
        assert large.add([EventItem(EPOCH, 3, b"x")])
        assert (len(few.take()), len(large.take())) == (3, 3)
        assert (len(few), len(large)) == (0, 0)


def test_what_waits_during_a_read_is_bounded_and_read_again() -> None:
    session, feed = Session(), Feed(Position(epoch=EPOCH), most_kept=4)
    page = session.page(feed.position, 10)
    for _ in range(7):
        feed.live(session.publish("event"))
    assert len(feed._kept) <= 4
    assert feed.page(page) == []
    assert feed.reading
    assert [item.seq for item in feed.page(session.page(feed.position, 10))] == list(range(1, 8))


def test_what_an_old_epoch_published_during_a_read_makes_it_read_once_more_and_no_oftener() -> None:
    feed = Feed(Position(epoch="old", seq=1))
    feed.live(EventItem("old", 2, b"{}"))
    head = Position(epoch="new", seq=1)
    feed.page(Page(position=head, head=head))
    assert feed.reading
    feed.page(Page(position=head, head=head))
    assert not feed.reading
