"""Recordings that can't be asked."""

import wave
from pathlib import Path

import pytest

from voicebus_stack.question import load_question


@pytest.mark.parametrize(
    ("rate", "frames", "reason"), [(4_000, 4_000, "8,000 to 192,000 Hz, not 4,000"), (16_000, 0, "nothing is recorded")]
)
def test_a_recording_that_no_gateway_takes_is_refused(tmp_path: Path, rate: int, frames: int, reason: str) -> None:
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * frames))
    with pytest.raises(ValueError, match=f"{path}: .*{reason}"):
        load_question(path)
