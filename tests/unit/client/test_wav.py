"""WAV files in and out."""

import wave
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebus_client.events import Event
from voicebus_client.upload import AudioSpec
from voicebus_client.wav import Recording, SpeechFile, read_wav


def write(path: Path, data: bytes, *, rate: int = 8_000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


def chunk(audio: bytes, rate: int = 22_050) -> Event:
    return Event("tts", {"sample_rate": rate}, audio=audio)


def test_a_recording_is_read_with_its_rate_and_channels(tmp_path: Path) -> None:
    recording = read_wav(write(tmp_path / "a.wav", b"\1\2\3\4" * 8_000, rate=8_000, channels=2))
    assert recording.spec == AudioSpec("pcm16", 8_000, 2)
    assert recording.duration_s == 1.0


@given(st.integers(0, 3_000), st.integers(1, 200), st.sampled_from([8_000, 11_025, 48_000]), st.integers(1, 2))
def test_pieces_are_the_recording_in_whole_samples(samples: int, ms: int, rate: int, channels: int) -> None:
    data = bytes(i % 251 for i in range(samples * channels * 2))
    pieces = list(Recording(AudioSpec("pcm16", rate, channels), data).pieces(ms))
    assert b"".join(pieces) == data
    assert all(len(piece) % (2 * channels) == 0 for piece in pieces)
    assert all(len(piece) == rate * ms // 1000 * 2 * channels for piece in pieces[:-1])


@pytest.mark.parametrize("content", [b"", b"RIFF", b"no wave at all, but long enough to be one" * 3])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.wav"):
        read_wav(path)


def test_samples_of_other_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="16 bits"):
        read_wav(write(tmp_path / "a.wav", b"\0" * 80, width=1))


def test_speech_is_saved_in_the_order_it_came(tmp_path: Path) -> None:
    path = tmp_path / "out.wav"
    with SpeechFile(path) as speech:
        begun = [speech.begun]
        speech.add(chunk(b"\1\0" * 10))
        speech.add(chunk(b"\2\0" * 10))
        begun.append(speech.begun)
    assert begun == [False, True]
    saved = read_wav(path)
    assert saved.spec.sample_rate == 22_050
    assert saved.data == b"\1\0" * 10 + b"\2\0" * 10


def test_speech_of_another_rate_does_not_fit(tmp_path: Path) -> None:
    with SpeechFile(tmp_path / "out.wav") as speech:
        speech.add(chunk(b"\0\0"))
        with pytest.raises(ValueError, match="8000 Hz"):
            speech.add(chunk(b"\0\0", 8_000))


def test_without_speech_no_file_is_made(tmp_path: Path) -> None:
    with SpeechFile(tmp_path / "out.wav"):
        pass
    with SpeechFile(None) as nowhere:
        nowhere.add(chunk(b"\0\0"))
    assert list(tmp_path.iterdir()) == []
