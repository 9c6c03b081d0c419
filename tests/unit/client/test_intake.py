"""Whatever connections do, the application gets each event once, in order, and no hole that isn't told."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from unit.client.session_model import SessionModel, View

from voicebus_client.errors import BadFrame
from voicebus_client.events import Event
from voicebus_client.intake import HoleFound, Intake
from voicebus_client.position import Position


class Reading(RuleBasedStateMachine):
    """One reader over connections that repeat, skip and break off, while Redis forgets and trims."""

    def __init__(self) -> None:
        super().__init__()
        self.session = SessionModel()
        self.intake = Intake(Position.BEGINNING)
        self.view = View()
        self.sent = self.session.head  # by the gateway, on the open connection
        self.left_out: set[int] = set()  # by a gateway, for ever so often

    def deliver(self, frames: list[Event]) -> bool:
        """Gives the frames to the client; False if it hangs up over a hole."""
        for frame in frames:
            try:
                for event in self.intake.take(frame):
                    self.view.give(event)
            except HoleFound:
                return False
        return True

    def join(self) -> list[Event]:
        assert self.intake.position is not None
        frames = self.session.after(self.intake.position)
        self.intake.joined(self.session.welcome())
        self.sent = self.session.head
        return frames

    @rule(count=st.integers(1, 4))
    def events_happen(self, count: int) -> None:
        for _ in range(count):
            self.session.append()

    @rule(count=st.integers(1, 3))
    def something_is_spoken(self, count: int) -> None:
        for _ in range(count):
            self.session.speak()

    @rule(lost=st.integers(0, 5))
    def redis_restarts(self, lost: int) -> None:
        self.session.restart(lost=lost)

    @rule(count=st.integers(1, 6))
    def the_log_is_trimmed(self, count: int) -> None:
        self.session.trim(count)

    @rule(cut=st.integers(0, 12))
    def a_connection_breaks_off(self, cut: int) -> None:
        self.deliver(self.join()[:cut])

    @rule(data=st.data())
    def a_connection_repeats_itself(self, data: st.DataObject) -> None:
        out: list[Event] = []
        frames = self.join()
        told = [frame for frame in frames if frame.type in ("gap", "state_snapshot")]
        items = frames[len(told) :]
        for number, frame in enumerate(items):
            out.append(frame)
            out += [items[i] for i in data.draw(st.lists(st.integers(0, number), max_size=2))]
        assert self.deliver(told + out)

    @rule(lost=st.integers(0, 10), length=st.integers(1, 3))
    def a_connection_leaves_events_out(self, lost: int, length: int) -> None:
        frames = self.join()
        events = [number for number, frame in enumerate(frames) if frame.seq is not None]
        hidden = set(events[lost : lost + length])
        self.left_out |= {frames[number].seq or 0 for number in hidden}
        self.deliver([frame for number, frame in enumerate(frames) if number not in hidden])

    @rule(lost=st.integers(0, 5), count=st.integers(0, 3))
    def redis_restarts_under_an_open_connection(self, lost: int, count: int) -> None:
        """The gateway goes on from what it has sent, and tells what is void of that."""
        if self.deliver(self.join()):
            self.session.restart(lost=lost)
            for _ in range(count):
                self.session.append()
            self.deliver(self.session.after(self.sent))

    @invariant()
    def the_position_is_what_was_given(self) -> None:
        assert self.intake.position is not None
        assert self.intake.position.seq == self.view.last

    def teardown(self) -> None:
        for _ in range(4):
            if self.deliver(self.join()):
                break
        else:
            raise AssertionError("the client does not settle")
        log = dict(enumerate(self.session.log, start=1))
        speech = {chunk.n: chunk.audio for chunk in self.session.speech}
        assert self.view.events == {seq: log[seq] for seq in log if seq not in self.view.missing}
        assert self.view.chunks == {n: speech[n] for n in speech if n not in self.view.missing_chunks}
        assert self.view.missing <= set(range(1, self.session.trimmed + 1)) | self.left_out
        assert not self.view.missing_chunks


Reading.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestEachEventOnceInOrder = Reading.TestCase


def welcome(epoch: str = "e", seq: int = 0, speech: int = 0) -> Event:
    return Event("welcome", {"epoch": epoch, "seq": seq, "speech": speech})


def token(seq: int) -> Event:
    return Event("token", {"token": str(seq)}, seq=seq)


def tts(n: int, after_seq: int) -> Event:
    return Event("tts", {"n": n, "after_seq": after_seq}, audio=b"..")


def gap(stream: str, first: int, last: int, reason: str) -> Event:
    return Event("gap", {"stream": stream, "from": first, "to": last, "reason": reason})


def joined(position: Position | None = None, **at: int) -> Intake:
    intake = Intake(position)
    intake.joined(welcome(**at))  # type: ignore[arg-type] # only numbers are given
    return intake


def test_without_a_position_the_welcome_says_where_it_begins() -> None:
    intake = joined(seq=7, speech=3)
    assert intake.position == Position("e", 7, 3)
    assert intake.take(token(7)) == ()
    assert intake.take(token(8)) == (token(8),)


def test_without_earlier_speech_the_position_takes_the_heads() -> None:
    intake = joined(Position("", 4, None), seq=7, speech=3)
    assert intake.take(tts(3, 4)) == ()
    assert intake.take(tts(4, 4)) == (tts(4, 4),)


def test_a_hole_is_refused_and_the_position_stays() -> None:
    intake = joined(seq=1)
    with pytest.raises(HoleFound):
        intake.take(token(3))
    assert intake.position == Position("e", 1, 0)


def test_speech_that_comes_before_its_event_is_a_hole() -> None:
    with pytest.raises(HoleFound):
        joined(seq=1).take(tts(1, 2))


def test_a_hole_that_stays_is_told_as_a_gap_in_the_end() -> None:
    intake = joined(seq=1)
    for _ in range(2):
        with pytest.raises(HoleFound):
            intake.take(token(4))
        intake.joined(welcome(seq=4))
    told, event = intake.take(token(4))
    assert (told.type, told.data["from"], told.data["to"], told.data["reason"]) == ("gap", 2, 3, "missing")
    assert event == token(4)


def test_speech_may_skip_numbers_that_were_taken_back() -> None:
    intake = joined()
    assert intake.take(tts(5, 0)) == (tts(5, 0),)
    assert intake.take(tts(4, 0)) == ()


def test_speech_below_an_interruption_is_void() -> None:
    intake = joined()
    interrupted = Event("interrupted", {"turn": 1, "heard": "", "speech_next": 6}, seq=1)
    assert intake.take(interrupted) == (interrupted,)
    assert intake.take(tts(5, 1)) == ()
    assert intake.take(tts(6, 1)) == (tts(6, 1),)
    assert intake.position == Position("e", 1, 6)


def test_the_snapshot_after_a_gap_is_given_whatever_its_number() -> None:
    for seq in (None, 5, 9, 30):
        intake = joined(Position("e", 5, 0), seq=30)
        intake.take(gap("events", 6, 9, "trimmed"))
        snapshot = Event("state_snapshot", {"state": {}}, seq=seq)
        assert intake.take(snapshot) == (snapshot,)
        assert intake.take(token(10)) == (token(10),)


def test_a_position_keeps_its_epoch_until_all_gaps_of_a_new_one_are_told() -> None:
    intake = Intake(Position("old", 9, 9))
    assert intake.joined(welcome("new", 20, 20))
    intake.take(gap("events", 6, 9, "epoch_changed"))
    assert intake.position == Position("old", 5, 9)
    intake.take(gap("speech", 4, 9, "epoch_changed"))
    assert intake.position == Position("old", 5, 3)
    intake.take(token(6))
    assert intake.position == Position("new", 6, 3)


@pytest.mark.parametrize("start", [None, Position("e", 9, 0), Position("", 9, 0)])
def test_an_epoch_that_changes_under_a_connection_is_left_to_learn_its_name(start: Position | None) -> None:
    intake = joined(start, seq=9)
    intake.take(gap("events", 6, 9, "epoch_changed"))
    snapshot = Event("state_snapshot", {"state": {}})
    assert intake.take(snapshot) == (snapshot,)
    with pytest.raises(HoleFound):
        intake.take(token(6))
    assert intake.position == Position(start.epoch if start else "e", 5, 0)


def test_a_second_welcome_names_the_new_epoch_of_the_same_connection() -> None:
    intake = joined(seq=9)
    assert intake.joined(welcome("f", 6))
    intake.take(gap("events", 6, 9, "epoch_changed"))
    assert intake.take(token(6)) == (token(6),)
    assert intake.position == Position("f", 6, 0)


def test_the_end_of_the_session_is_noticed() -> None:
    intake = joined()
    intake.take(Event("session_end", {"reason": "idle"}, seq=1))
    assert intake.ended


@pytest.mark.parametrize("event", [Event("gap", {"stream": "events"}), Event("tts", {}), token(1)])
def test_incomplete_events_and_such_before_a_welcome_are_refused(event: Event) -> None:
    with pytest.raises(BadFrame):
        (Intake() if event.seq else joined()).take(event)
