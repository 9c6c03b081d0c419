"""Samples of all types become 16 kHz mono; checkpoints travel as JSON."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_worker.audio import RATE, Checkpoint, Encoding, Resampler, pcm16
from stt_worker.wav import SampleType
from voicebus.contract.audio import AudioSpec, InputFormat
from voicebus.contract.errors import BadRequest


def encoding(sample_type: SampleType = "s16", rate: int = RATE, channels: int = 1) -> Encoding:
    return Encoding(sample_type=sample_type, rate=rate, channels=channels)


@pytest.mark.parametrize(
    ("sample_type", "data"),
    [
        ("u8", bytes([0, 64, 128, 192])),
        ("s16", struct.pack("<4h", -32768, -16384, 0, 16384)),
        ("s24", b"\0\0\x80\0\0\xc0\0\0\0\0\0\x40"),
        ("s32", struct.pack("<4i", -(2**31), -(2**30), 0, 2**30)),
        ("f32", struct.pack("<4f", -1, -0.5, 0, 0.5)),
    ],
)
def test_each_sample_type_has_the_same_scale(sample_type: SampleType, data: bytes) -> None:
    assert encoding(sample_type).mono(data).tolist() == [-1, -0.5, 0, 0.5]
    assert encoding(sample_type, channels=2).mono(data).tolist() == [-0.75, 0.25]


def test_floats_that_are_no_samples_do_no_harm() -> None:
    data = struct.pack("<5f", float("nan"), float("inf"), -float("inf"), 7, -7)
    assert encoding("f32").mono(data).tolist() == [0, 1, -1, 1, -1]


@given(st.binary(max_size=64).map(lambda b: b[: len(b) // 2 * 2]))
def test_16_bit_samples_survive_the_way_unchanged(data: bytes) -> None:
    assert pcm16(encoding().mono(data)) == data


def test_loud_samples_are_clipped() -> None:
    assert pcm16(np.array([2, -2], np.float32)) == struct.pack("<2h", 32767, -32768)


@given(
    st.sampled_from([8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000]),
    st.lists(st.integers(1, 900), min_size=1, max_size=12),
)
def test_resampling_does_not_depend_on_how_the_input_is_cut(rate: int, cuts: list[int]) -> None:
    audio = np.sin(np.arange(rate // 10, dtype=np.float32) * (440 * 2 * np.pi / rate)).astype(np.float32)
    whole = Resampler(rate)
    expected = np.concatenate((whole.push(audio), whole.flush()))
    pieces = np.split(audio, sorted({min(sum(cuts[:i]), len(audio)) for i in range(1, len(cuts) + 1)}))
    cut = Resampler(rate)
    assert np.array_equal(np.concatenate([*(cut.push(piece) for piece in pieces), cut.flush()]), expected)
    assert abs(len(expected) - len(audio) * RATE / rate) <= 1


def test_resampling_keeps_the_tone() -> None:
    resampler = Resampler(48_000)
    tone = np.sin(np.arange(48_000, dtype=np.float32) * (440 * 2 * np.pi / 48_000)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(np.concatenate((resampler.push(tone), resampler.flush()))))
    assert int(np.argmax(spectrum)) == 440


@pytest.mark.parametrize("name", ["opus", "webm", "mulaw"])
def test_a_format_that_cant_be_read_is_refused(name: InputFormat) -> None:
    with pytest.raises(BadRequest) as caught:
        Checkpoint.at_start(AudioSpec(format=name))
    assert caught.value.code == "audio_unsupported"


def test_a_wav_streams_encoding_is_not_known_at_its_start() -> None:
    assert Checkpoint.at_start(AudioSpec(format="wav", sample_rate=8_000)).encoding is None
    assert Checkpoint.at_start(AudioSpec(format="pcm16", sample_rate=8_000)).encoding == encoding(rate=8_000)


@given(st.integers(45, 10_000))
def test_behind_a_hole_decoding_begins_at_a_whole_frame(offset: int) -> None:
    stereo = Encoding(sample_type="s24", rate=48_000, channels=2, start=44)
    begins = Checkpoint.behind_hole(stereo, offset).offset
    assert (begins - 44) % 6 == 0
    assert offset <= begins < offset + 6


def test_behind_a_hole_without_the_header_nothing_can_be_decoded() -> None:
    with pytest.raises(BadRequest) as caught:
        Checkpoint.behind_hole(None, 100)
    assert caught.value.code == "audio_invalid"


@given(
    st.builds(
        Checkpoint,
        offset=st.integers(0, 2**40),
        encoding=st.none() | st.just(Encoding(sample_type="s24", rate=44_100, channels=2, start=44, end=9_999)),
        carry=st.binary(max_size=40),
    )
)
def test_a_checkpoint_survives_as_json(checkpoint: Checkpoint) -> None:
    assert Checkpoint.model_validate_json(checkpoint.model_dump_json()) == checkpoint


def test_time_counts_from_the_first_sample() -> None:
    stereo = Encoding(sample_type="s16", rate=48_000, channels=2, start=44)
    assert stereo.time_ms(44) == 0
    assert stereo.time_ms(44 + 48_000 * 4) == 1000
