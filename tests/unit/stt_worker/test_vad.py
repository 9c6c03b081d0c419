"""What tells speech from silence without a model."""

import numpy as np
import pytest

from stt_worker.audio import FRAME
from stt_worker.vad import LOUD, LoudnessVad


@pytest.mark.parametrize(("level", "probability"), [(0.0, 0.0), (LOUD * 0.9, 0.0), (LOUD * 1.1, 1.0), (1.0, 1.0)])
def test_what_is_loud_is_speech(level: float, probability: float) -> None:
    frame = np.full(FRAME, level, np.float32)
    frame[::2] *= -1
    assert LoudnessVad().probability(frame) == probability
