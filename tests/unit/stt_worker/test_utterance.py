"""Where utterances begin and end, for any course of the probability of speech."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from stt_worker.audio import FRAME, RATE
from stt_worker.utterance import Action, Decode, Ended, Endpointer, Endpointing, Heard, Quiet, Settle, Started

QUICK = Endpointing(
    endpoint_silence_s=0.2, settle_silence_s=0.08, pre_roll_s=0.1, longest_s=0.8, checkpoint_silence_s=0.3
)
SPEECH, SILENCE = 0.9, 0.0
probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.36, 0.45, 0.5, 0.9]), st.integers(1, 14)), max_size=40
).map(lambda runs: [p for p, times in runs for _ in range(times)])


def frames(seconds: float) -> int:
    return math.ceil(seconds * RATE / FRAME)


def frame(index: int) -> bytes:
    """Audio that says which frame it is."""
    return index.to_bytes(2, "little") * FRAME


def hear(course: list[float], endpointing: Endpointing, *, start: int = 0) -> list[tuple[int, Action]]:
    """All actions from this frame on, each with the frame at which its stretch began, and the end of the stream."""
    found: list[tuple[int, Action]] = []
    begins = at = start
    endpointer = Endpointer(endpointing)
    while at < len(course):
        actions = endpointer.push(frame(at), course[at])
        at += 1
        found += [(begins, action) for action in actions]
        if actions and isinstance(last := actions[-1], Ended | Quiet):
            begins = at = begins + last.cut // FRAME
            endpointer = Endpointer(endpointing)
    return found + [(begins, action) for action in endpointer.finish()]


def cuts(found: list[tuple[int, Action]]) -> list[int]:
    """The frames at which was cut."""
    return [begins + action.cut // FRAME for begins, action in found if isinstance(action, Ended | Quiet)]


def utterances(found: list[tuple[int, Action]]) -> list[tuple[int, list[Action]]]:
    """The actions of each utterance, with the frame at which its stretch began."""
    grouped: list[tuple[int, list[Action]]] = []
    for begins, action in found:
        if isinstance(action, Started):
            grouped.append((begins, []))
        if not isinstance(action, Quiet):
            grouped[-1][1].append(action)
    return grouped


@given(probabilities)
def test_an_utterances_audio_is_one_piece_of_the_stream(course: list[float]) -> None:
    for begins, actions in utterances(hear(course, QUICK)):
        started = actions[0]
        assert isinstance(started, Started)
        audio = b"".join(action.pcm for action in actions if isinstance(action, Decode))
        first = begins + started.audio // FRAME
        assert audio == b"".join(frame(i) for i in range(first, first + len(audio) // len(frame(0))))


@given(probabilities)
def test_all_speech_of_an_utterance_is_decoded(course: list[float]) -> None:
    for begins, actions in utterances(hear(course, QUICK)):
        started, ended = actions[0], actions[-1]
        assert isinstance(started, Started)
        assert isinstance(ended, Ended)
        decoded = started.audio + sum(len(action.pcm) // 2 for action in actions if isinstance(action, Decode))
        assert started.audio <= started.speech < ended.speech_end <= decoded
        assert ended.speech_end <= ended.cut
        assert all(p >= QUICK.end_probability for p in course[begins + started.speech // FRAME :][:3])


@given(probabilities)
def test_cut_points_move_on(course: list[float]) -> None:
    *found, last = cuts(hear(course, QUICK))
    assert all(a < b for a, b in pairwise([0, *found]))
    assert last == len(course)


@given(probabilities)
def test_whoever_begins_at_a_cut_point_hears_what_its_last_reader_would_have_heard(course: list[float]) -> None:
    found = hear(course, QUICK)
    for i, (begins, action) in enumerate(found[:-1]):
        if isinstance(action, Ended | Quiet):
            assert hear(course, QUICK, start=begins + action.cut // FRAME) == found[i + 1 :]


@given(probabilities)
def test_no_speech_is_lost_between_utterances(course: list[float]) -> None:
    found = hear(course, QUICK)
    covered: set[int] = set()
    for begins, actions in utterances(found):
        started = actions[0]
        assert isinstance(started, Started)
        first = begins + started.audio // FRAME
        count = sum(len(action.pcm) for action in actions if isinstance(action, Decode)) // len(frame(0))
        covered |= set(range(first, first + count))
    for run in runs_of_speech(course, set(cuts(found))):
        assert len(run) < frames(QUICK.min_speech_s) or covered.issuperset(run)


def runs_of_speech(course: list[float], cut_at: set[int]) -> list[list[int]]:
    """Frames of speech in a row; a cut point divides them."""
    runs: list[list[int]] = [[]]
    for i, p in enumerate(course):
        if p < QUICK.start_probability or i in cut_at:
            runs.append([])
        if p >= QUICK.start_probability:
            runs[-1].append(i)
    return runs


def kinds(found: list[tuple[int, Action]]) -> list[type[Action]]:
    return [type(action) for _, action in found if not isinstance(action, Decode)]


def test_silence_ends_the_utterance() -> None:
    default = Endpointing()
    course = [SILENCE] * 20 + [SPEECH] * 30 + [SILENCE] * frames(default.endpoint_silence_s)
    found = hear(course, default)
    assert kinds(found) == [Started, Heard, Settle, Ended, Quiet]
    assert found[0][1] == Started(speech=20 * FRAME, audio=(20 - frames(default.pre_roll_s)) * FRAME)
    ended = next(action for _, action in found if isinstance(action, Ended))
    assert ended.speech_end == 50 * FRAME
    assert ended.cut == (len(course) - frames(default.pre_roll_s)) * FRAME


def test_a_pause_is_not_the_end_and_its_audio_is_decoded_when_speech_goes_on() -> None:
    default = Endpointing()
    pause = frames(default.endpoint_silence_s) - 1
    found = hear([SPEECH] * 9 + [SILENCE] * pause + [SPEECH] * 9, default)
    assert kinds(found) == [Started, Heard, Settle, Ended]
    audio = b"".join(action.pcm for _, action in found if isinstance(action, Decode))
    assert audio == b"".join(frame(i) for i in range(18 + pause))


def test_a_click_is_no_speech() -> None:
    assert kinds(hear([SILENCE] * 5 + [SPEECH] * 2 + [SILENCE] * 5, Endpointing())) == [Quiet]


def test_speech_may_get_less_likely_without_an_end() -> None:
    assert kinds(hear([0.5] * 3 + [0.36] * 40 + [0.34] * 20, Endpointing()))[:4] == [Started, Heard, Settle, Ended]
    assert kinds(hear([0.49] * 10, Endpointing())) == [Quiet]


def test_speech_is_heard_after_200_ms_once() -> None:
    found = hear([SPEECH] * 6, Endpointing())
    assert Heard not in kinds(found)
    assert kinds(hear([SPEECH] * 7 + [SILENCE] * 3 + [SPEECH] * 30, Endpointing())).count(Heard) == 1


def test_a_long_speech_is_cut_and_nothing_of_it_lost() -> None:
    default = Endpointing()
    course = [SPEECH] * 2_000
    found = hear(course, default)
    assert kinds(found) == [Started, Heard, Ended] * 3
    assert cuts(found)[0] == frames(default.longest_s)
    audio = b"".join(action.pcm for _, action in found if isinstance(action, Decode))
    assert audio == b"".join(frame(i) for i in range(2_000))


def test_in_silence_the_cut_point_follows_with_the_pre_roll_behind_it() -> None:
    default = Endpointing()
    found = hear([SILENCE] * 313, default)
    assert kinds(found) == [Quiet] * 10
    assert cuts(found)[:2] == [frames(default.checkpoint_silence_s), 2 * frames(default.checkpoint_silence_s)]


def test_the_end_of_the_stream_ends_what_is_open_at_once() -> None:
    endpointer = Endpointer(Endpointing())
    for i in range(10):
        endpointer.push(frame(i), SPEECH)
    assert endpointer.finish(b"\1\0" * 100) == [Decode(b"\1\0" * 100), Ended(10 * FRAME + 100, 10 * FRAME + 100)]
