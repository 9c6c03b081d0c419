"""Which mail is done with, and what the next owner is told."""

from hypothesis import given
from hypothesis import strategies as st

from stt_worker.audio import Checkpoint, Encoding
from stt_worker.events import Reporter, moved
from stt_worker.listen import Final
from stt_worker.progress import Mark, Marks, Progress
from voicebus.bus.emission import Emission


def marks(*ends: int) -> Marks:
    found = Marks()
    for i, end in enumerate(ends):
        found.add(Mark(f"{i + 1}-0", end, float(i)))
    return found


@given(st.lists(st.integers(0, 50), max_size=20), st.lists(st.integers(0, 500), max_size=5))
def test_the_cursor_never_passes_mail_that_reaches_behind_the_cut_point(sizes: list[int], cuts: list[int]) -> None:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    found = marks(*ends)
    passed = 0
    for cut in sorted(cuts):
        mail_id = found.pass_by(cut)
        passed = int(mail_id.split("-")[0]) if mail_id else passed
        assert passed == len([end for end in ends if end <= cut])


def test_the_arrival_of_a_byte_is_that_of_the_mail_that_holds_it() -> None:
    assert [marks(10, 20).arrival_s(offset) for offset in (1, 10, 11, 20, 21)] == [0.0, 0.0, 1.0, 1.0, None]


def test_progress_survives_as_a_note() -> None:
    encoding = Encoding(sample_type="f32", rate=48_000, channels=2, start=58)
    for progress in (
        Progress(stream="s", start_id="3-0", checkpoint=Checkpoint(offset=58, encoding=encoding, carry=b"\xff\0")),
        Progress(stream="s", start_id="3-0", refused=True),
    ):
        note = moved(Emission(), progress, "7-0").operations[1]
        assert isinstance(note, str)
        assert Progress.model_validate_json(note) == progress


def test_without_a_stream_no_note_is_left_and_the_cursor_moves_all_the_same() -> None:
    assert moved(Emission(), None, "7-0").operations == ["note", "", "cursor", "7-0"]


def test_the_same_speech_opens_a_turn_with_the_same_id() -> None:
    def opened(session: str, stream: str, start_id: str, speech_end: int) -> object:
        final = Final("hello", 1.0, 0, 100, speech_end, Checkpoint())
        progress = Progress(stream=stream, start_id=start_id, checkpoint=Checkpoint(offset=speech_end))
        return Reporter(session, "personal").final(progress, final, before="", final_ms=None).operations[3]

    speech = ("a", "s", "1-0", 9)
    assert opened(*speech) == opened(*speech)
    others = [("b", "s", "1-0", 9), ("a", "t", "1-0", 9), ("a", "s", "2-0", 9), ("a", "s", "1-0", 8)]
    assert len({opened(*speech), *(opened(*other) for other in others)}) == 5


def test_the_stream_keeps_its_start_wherever_it_stands() -> None:
    progress = Progress(stream="s", start_id="3-0")
    assert progress.at(Checkpoint(offset=9)) == Progress(stream="s", start_id="3-0", checkpoint=Checkpoint(offset=9))
    assert progress.at(Checkpoint(offset=9)).refuse() == Progress(stream="s", start_id="3-0", refused=True)
