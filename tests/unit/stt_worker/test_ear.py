"""What is heard depends on the bytes alone: not on chunks, not on who listened before, not on the encoding."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.stt_worker.wavs import QUESTION, RECORDINGS, chunk, fmt, split, wav

from stt_worker.audio import RATE, Checkpoint, Resampler, pcm16
from stt_worker.ear import SKIP_BYTES, Ear
from stt_worker.utterance import Action, Decode, Ended, Endpointing, Quiet, Started
from stt_worker.vad import SileroVad, Vad
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import BadRequest

WAV = Checkpoint.at_start(AudioSpec(format="wav"))
PCM = Checkpoint.at_start(AudioSpec(format="pcm16"))
FILES = {path.stem: path for path in [QUESTION, *sorted(RECORDINGS.glob("*.wav"))]}
Seen = tuple[str, int, bytes, Checkpoint | None]


@cache
def vad() -> Vad:
    return SileroVad()


def seen(ear: Ear, actions: Iterator[Action]) -> Iterator[Seen]:
    """The actions in the stream's own terms."""
    for action in actions:
        at = action.speech if isinstance(action, Started) else action.speech_end if isinstance(action, Ended) else 0
        time_ms = ear.passage.time_ms(at) if ear.passage and at else 0
        cut = ear.cut if isinstance(action, Ended | Quiet) else None
        yield type(action).__name__, time_ms, action.pcm if isinstance(action, Decode) else b"", cut


def hear(data: bytes, start: Checkpoint = WAV, sizes: list[int] | None = None, *, finish: bool = True) -> list[Seen]:
    ear = Ear(start, vad(), Endpointing())
    found: list[Seen] = []
    for piece in split(data, sizes or [len(data) or 1]):
        ear.write(piece)
        found += seen(ear, ear.hear())
    if finish:
        found += seen(ear, ear.finish())
    return found


def kinds(found: list[Seen]) -> list[str]:
    return [name for name, *_ in found if name != "Decode"]


def silence(seconds: float) -> bytes:
    return bytes(int(seconds * RATE) * 2)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("sizes", [[640], [1, 2, 3, 999], [20_001]], ids=["20 ms", "odd", "large"])
def test_chunks_make_no_difference(name: str, sizes: list[int]) -> None:
    data = FILES[name].read_bytes()
    assert hear(data, sizes=sizes) == hear(data)


@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=9))
@settings(max_examples=15)
def test_chunks_make_no_difference_wherever_they_are_cut(sizes: list[int]) -> None:
    data = FILES["two-requests"].read_bytes()
    assert hear(data, sizes=sizes) == _heard_in_two_requests()


@cache
def _heard_in_two_requests() -> list[Seen]:
    return hear(FILES["two-requests"].read_bytes())


@pytest.mark.parametrize("name", FILES)
def test_a_process_that_begins_at_a_checkpoint_hears_the_same_as_one_that_came_that_far(name: str) -> None:
    data = FILES[name].read_bytes()
    found = hear(data)
    for i, (*_, cut) in enumerate(found[:-1]):
        if cut is not None:
            stored = Checkpoint.model_validate_json(cut.model_dump_json())
            assert hear(data[cut.needs_from :], stored) == found[i + 1 :]


def test_speech_begins_where_somebody_speaks() -> None:
    found = hear(FILES["question"].read_bytes())
    assert kinds(found) == ["Started", "Heard", "Settle", "Ended"]
    samples = np.frombuffer(FILES["question"].read_bytes()[44:], "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 1_000) * 1000 / RATE
    assert found[0][1] == pytest.approx(loud[0], abs=150)
    assert next(time for name, time, *_ in found if name == "Ended") == pytest.approx(loud[-1], abs=200)


def test_two_utterances_are_two() -> None:
    assert kinds(hear(FILES["two-requests"].read_bytes())).count("Ended") == 2


def test_noise_is_no_speech_and_moves_the_cut_point_on() -> None:
    found = hear(FILES["noise"].read_bytes())
    assert set(kinds(found)) == {"Quiet"}
    assert len(found) >= 3


def test_an_open_silent_microphone_needs_no_memory() -> None:
    ear = Ear(PCM, vad(), Endpointing())
    for _ in range(100):
        ear.write(silence(0.1))
        assert all(isinstance(action, Quiet) for action in ear.hear())
    assert 320_000 - ear.cut.offset < 1.5 * RATE * 2


@pytest.mark.parametrize("name", FILES)
def test_the_end_is_cut_where_the_samples_end(name: str) -> None:
    data = FILES[name].read_bytes()
    assert hear(data)[-1][3] == Checkpoint(offset=len(data), encoding=hear(data)[-1][3].encoding)  # type: ignore[union-attr]  # the last action cuts


@pytest.mark.parametrize(("sample_type", "tag", "bits"), [("u8", 1, 8), ("s24", 1, 24), ("s32", 1, 32), ("f32", 3, 32)])
def test_the_same_sound_in_another_sample_type_is_the_same_speech(sample_type: str, tag: int, bits: int) -> None:
    samples = np.frombuffer(FILES["question"].read_bytes()[44:], "<i2").astype(np.int64)
    encoded = {
        "u8": ((samples >> 8) + 128).astype(np.uint8),
        "s24": (samples << 8).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3],
        "s32": (samples << 16).astype("<i4"),
        "f32": (samples / 32768).astype("<f4"),
    }[sample_type].tobytes()
    expected = hear(FILES["question"].read_bytes())
    found = hear(wav(chunk(b"LIST", b"odd"), fmt(tag=tag, bits=bits), data=encoded), sizes=[333])
    assert kinds(found) == kinds(expected)
    for (_, time_ms, pcm, _), (_, other_ms, other, _) in zip(found, expected, strict=True):
        assert abs(time_ms - other_ms) <= 64
        assert pcm == other or sample_type == "u8"


@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (22_050, 3), (44_100, 2), (48_000, 8), (96_000, 1)])
def test_the_same_sound_at_another_rate_lies_at_the_same_time(rate: int, channels: int) -> None:
    samples = np.frombuffer(FILES["question"].read_bytes()[44:], "<i2").astype(np.float32) / 32768
    other = np.interp(np.arange(0, len(samples) / RATE, 1 / rate), np.arange(len(samples)) / RATE, samples)
    data = np.repeat((other * 32768).astype("<i2")[:, None], channels, axis=1).tobytes()
    start = Checkpoint.at_start(AudioSpec(format="pcm16", sample_rate=rate, channels=channels))
    found = hear(data, start, sizes=[rate // 50 * channels * 2 + 1])
    expected = hear(FILES["question"].read_bytes()[44:], PCM)
    assert kinds(found) == kinds(expected)
    assert found[0][1] == pytest.approx(expected[0][1], abs=64)


def test_a_stream_of_unknown_length_goes_on_until_it_is_stopped() -> None:
    samples = FILES["question"].read_bytes()[44:]
    found = hear(wav(fmt(), data=samples + samples, size=0xFFFFFFFF), sizes=[640])
    assert kinds(found).count("Ended") == 2


def test_the_end_of_the_samples_ends_the_utterance_and_what_follows_is_skipped() -> None:
    speech = FILES["question"].read_bytes()[44 : 44 + 50_000]
    file = wav(fmt(), data=speech)
    assert kinds(hear(file, sizes=[640], finish=False)) == ["Started", "Heard", "Ended"]
    found = hear(file + b"tail" * (SKIP_BYTES // 2), sizes=[640])
    assert kinds(found) == ["Started", "Heard", "Ended", "Quiet", "Quiet"]
    ended, skipped, stopped = [cut.offset - len(file) for *_, cut in found if cut]
    assert (ended, stopped) == (0, 2 * SKIP_BYTES)
    assert SKIP_BYTES <= skipped < SKIP_BYTES + 640


@pytest.mark.parametrize("cut_at", [7, 30, 44, 44 + 20_001])
def test_a_stream_that_pauses_in_the_middle_of_a_frame_goes_on_behind_it(cut_at: int) -> None:
    data = FILES["question"].read_bytes()
    first = hear(data[:cut_at])
    paused = first[-1][3]
    assert paused is not None
    assert paused.needs_from == cut_at
    rest = hear(data[cut_at:], Checkpoint.model_validate_json(paused.model_dump_json()))
    assert "Ended" in kinds(rest)
    assert [cut for *_, cut in rest if cut][-1].offset == len(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no audio at all, but long enough to tell", "audio_invalid"),
        (wav(fmt(rate=4_000), data=b"12"), "audio_unsupported"),
        (wav(fmt(rate=500_000), data=b"12"), "audio_unsupported"),
        (wav(fmt(channels=9), data=b"12"), "audio_unsupported"),
        (wav(fmt(channels=0), data=b"12"), "audio_unsupported"),
    ],
)
def test_a_stream_that_cant_be_read_says_why(data: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        hear(data)
    assert caught.value.code == code


def test_resampled_audio_reaches_the_recogniser_to_its_last_sample() -> None:
    data = FILES["good-morning-44khz-stereo"].read_bytes()
    found = hear(data)
    decoded = b"".join(pcm for name, _, pcm, _ in found if name == "Decode")
    resampler = Resampler(44_100)
    mono = np.frombuffer(data[44:], "<i2").reshape(-1, 2).mean(axis=1, dtype=np.float32) / np.float32(32768)
    whole = pcm16(np.concatenate((resampler.push(mono), resampler.flush())))
    assert decoded in whole
    assert whole.endswith(decoded) or kinds(found)[-1] == "Quiet"
