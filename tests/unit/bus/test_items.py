"""Pages of log and speech: nothing overtakes, nothing is left out, and what can't be replayed is a gap."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from voicebus.bus.items import EventItem, Page, SpeechItem, page_of, parse_live
from voicebus.contract.positions import GapRange, Position

EPOCH = b"0123abcd"


class Stored:
    """A session as Redis holds it: events 1…, and chunks behind some of them."""

    def __init__(self, kinds: list[str]) -> None:
        self.events: list[int] = []
        self.chunks: list[tuple[int, int]] = []  # n, after_seq
        for kind in kinds:
            if kind == "event":
                self.events.append(len(self.events) + 1)
            else:
                self.chunks.append((len(self.chunks) + 1, len(self.events)))

    def read(self, at: Position, most_events: int, most_chunks: int) -> Page:
        events = [seq for seq in self.events if seq > at.seq][:most_events]
        chunks = [(n, seq) for n, seq in self.chunks if n > at.speech][:most_chunks]
        reply = [
            EPOCH,
            len(self.events),
            len(self.chunks),
            len(self.events),
            len(self.chunks),
            0,
            [part for seq in events for part in (str(seq).encode(), b"{}")],
            [part for n, seq in chunks for part in (str(n).encode(), str(seq).encode(), b"{}", b"")],
            int(len(events) == most_events),
            int(len(chunks) == most_chunks),
        ]
        return page_of(reply, at)


@given(st.lists(st.sampled_from(["event", "chunk"]), max_size=30), st.integers(1, 5), st.integers(1, 5))
def test_pages_of_any_size_give_everything_once_in_the_order_of_its_making(
    kinds: list[str], most_events: int, most_chunks: int
) -> None:
    stored, at, got = Stored(kinds), Position(), list[Any]()
    for _ in range(len(kinds) + 2):
        page = stored.read(at, most_events, most_chunks)
        got += page.items
        at = page.position
        if page.complete:
            break
    assert page.complete
    assert ["event" if isinstance(item, EventItem) else "chunk" for item in got] == kinds
    assert [item.seq for item in got if isinstance(item, EventItem)] == stored.events
    assert [(item.n, item.seq) for item in got if isinstance(item, SpeechItem)] == stored.chunks


def reply(**changes: Any) -> list[Any]:
    fields = {"epoch": EPOCH, "head": 9, "n": 4, "valid": 9, "valid_n": 4, "gone": 0, "events": [], "chunks": []}
    fields |= {"more_events": 0, "more_chunks": 0}
    return list((fields | changes).values())


def test_a_position_that_is_valid_no_more_is_a_gap_and_the_reader_goes_on_below_it() -> None:
    events = [part for seq in range(6, 10) for part in (str(seq).encode(), b"{}")]
    asked = Position(epoch="ffffffff", seq=8, speech=3)
    page = page_of(reply(valid=5, valid_n=3, events=events), asked)
    assert page.gaps == [GapRange(stream="events", first=6, last=8, reason="epoch_changed")]
    assert [item.seq for item in page.items] == [6, 7, 8, 9]


def test_a_position_ahead_is_a_gap_and_the_reader_stands_at_the_head() -> None:
    asked = Position(epoch=EPOCH.decode(), seq=12, speech=7)
    page = page_of(reply(), asked)
    assert [(gap.stream, gap.first, gap.last, gap.reason) for gap in page.gaps] == [
        ("events", 10, 12, "ahead"),
        ("speech", 5, 7, "ahead"),
    ]
    assert (page.position.seq, page.position.speech) == (9, 4)


def test_what_was_trimmed_is_a_gap() -> None:
    events = [b"8", b"{}", b"9", b"{}"]
    page = page_of(reply(gone=2, events=events), Position(seq=3))
    assert [(gap.stream, gap.first, gap.last, gap.reason) for gap in page.gaps] == [
        ("events", 4, 7, "trimmed"),
        ("speech", 1, 2, "trimmed"),
    ]


def test_a_gap_is_told_on_one_page_only() -> None:
    events = [b"1", b"{}", b"2", b"{}"]
    page = page_of(reply(gone=2, events=events, more_events=1), Position())
    assert [(gap.stream, gap.last) for gap in page.gaps] == [("speech", 2)]
    assert (page.position.seq, page.position.speech) == (2, 2)

    chunks = [b"1", b"3", b"{}", b""]
    page = page_of(reply(events=[b"8", b"{}", b"9", b"{}"], chunks=chunks, more_chunks=1), Position())
    assert [(gap.stream, gap.last) for gap in page.gaps] == [("events", 7)]
    assert (page.position.seq, page.position.speech) == (7, 1)


def test_speech_in_a_live_message_may_hold_any_bytes() -> None:
    audio = b"|\x00\xff}|" * 3
    item = parse_live(b"s|0123abcd|7|3|4|{..}" + audio)
    assert item == SpeechItem("0123abcd", 7, 3, b"{..}", audio)
    assert parse_live(b'e|0123abcd|7|{"a":"|"}') == EventItem("0123abcd", 7, b'{"a":"|"}')
