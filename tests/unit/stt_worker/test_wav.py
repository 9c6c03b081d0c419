"""The header of a WAV stream, read as its bytes come in."""

import wave
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.stt_worker.wavs import QUESTION, chunk, fmt, wav

from stt_worker.wav import HEADER_MAX, WavFormat, WavHeader
from voicebus.contract.errors import BadRequest


def read(data: bytes) -> WavFormat:
    found = WavHeader().read(data)
    assert found is not None
    return found


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("tag", "bits", "sample_type"), [(1, 8, "u8"), (1, 16, "s16"), (1, 24, "s24"), (1, 32, "s32"), (3, 32, "f32")]
)
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (96_000, 8)])
def test_every_usual_encoding_is_told(
    tag: int, bits: int, sample_type: str, rate: int, channels: int, extensible: bool
) -> None:
    header = fmt(tag=tag, bits=bits, rate=rate, channels=channels, extensible=extensible)
    found = read(wav(header, data=b"12345678"))
    assert (found.sample_type, found.rate, found.channels) == (sample_type, rate, channels)
    assert found.end is not None
    assert found.end - found.start == 8


def test_a_file_of_the_standard_library_is_read() -> None:
    with wave.open(str(QUESTION)) as file:
        expected = (file.getframerate(), file.getnchannels(), file.getnframes() * 2)
    found = read(QUESTION.read_bytes())
    assert found.end is not None
    assert (found.rate, found.channels, found.end - found.start) == expected


@given(st.binary(max_size=99), st.binary(max_size=99), st.data())
def test_no_matter_how_the_bytes_come_the_samples_begin_at_the_same_one(
    before: bytes, between: bytes, data: st.DataObject
) -> None:
    file = wav(chunk(b"LIST", before), fmt(), chunk(b"junk", between), data=b"samples!")
    header, at, found = WavHeader(), 0, None
    while found is None:
        at += data.draw(st.integers(1, 40))
        found = header.read(file[:at])
    assert found.start == file.index(b"samples!")
    assert at >= found.start


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_stream_of_unknown_length_has_no_end(size: int) -> None:
    assert read(wav(fmt(), data=b"1234", size=size)).end is None


def test_rf64_is_taken() -> None:
    assert read(b"RF64" + wav(fmt(), data=b"1234", size=0xFFFFFFFF)[4:]).end is None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"OggS" + bytes(40), "audio_invalid"),
        (b"RIFF\0\0\0\0AVI " + bytes(40), "audio_invalid"),
        (wav(data=b"1234"), "audio_invalid"),
        (wav(chunk(b"fmt ", b"short"), data=b"1234"), "audio_invalid"),
        (wav(chunk(b"fmt ", fmt(extensible=True)[8:30]), data=b"1234"), "audio_invalid"),
        (wav(chunk(b"LIST", bytes(HEADER_MAX)), fmt()), "audio_invalid"),
        (wav(chunk(b"fmt ", fmt()[8:20] + b"\x03\0\x10\0"), data=b"1234"), "audio_invalid"),
        (wav(fmt(tag=7, bits=8), data=b"1234"), "audio_unsupported"),
        (wav(fmt(tag=3, bits=64), data=b"1234"), "audio_unsupported"),
        (wav(fmt(tag=2, bits=4), data=b"1234"), "audio_unsupported"),
        (wav(fmt(tag=0x55, bits=16, extensible=True), data=b"1234"), "audio_unsupported"),
    ],
    ids=["ogg", "avi", "no fmt", "short fmt", "short extensible", "long", "frames", "mu-law", "f64", "adpcm", "mp3"],
)
def test_what_cant_be_read_has_its_code(data: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        WavHeader().read(data)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_and_nothing_else(data: bytes) -> None:
    for file in (data, wav(data)):
        with suppress(BadRequest):
            WavHeader().read(file)
