"""Pure: finds the utterance in a stretch of audio, frame by frame.

A stretch begins at a cut point and holds at most one utterance; its last action names the next cut point. Frames are
32 ms of mono s16le at 16 kHz with the probability that they are speech; samples are counted from the stretch's start.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Self

from stt_worker.audio import FRAME, RATE


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When speech begins and ends."""

    endpoint_silence_s: float = 0.5  # after so much silence the utterance is over
    settle_silence_s: float = 0.16  # after so much it may be over
    start_probability: float = 0.5  # speech begins at this
    end_probability: float = 0.35  # and lasts until it is less than this
    min_speech_s: float = 0.09  # less is a click or a cough
    heard_s: float = 0.2  # so much speech interrupts the assistant
    pre_roll_s: float = 0.3  # audio before the speech that the recogniser hears too
    longest_s: float = 30.0  # an utterance is cut after so long
    checkpoint_silence_s: float = 1.0  # so often the cut point moves on in silence


@dataclass(frozen=True, slots=True)
class Started:
    """Speech begins at this sample; the audio to decode begins `pre_roll_s` before it, or with the stretch."""

    speech: int
    audio: int


@dataclass(frozen=True, slots=True)
class Decode:
    """The utterance's next audio, s16le."""

    pcm: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """Enough speech for an interruption; once per utterance."""


@dataclass(frozen=True, slots=True)
class Settle:
    """The utterance may be over."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance is over: speech lasted until `speech_end`, the next stretch begins at `cut`. The last action."""

    speech_end: int
    cut: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """There was no speech before `cut`, where the next stretch begins. The last action."""

    cut: int


Action = Started | Decode | Heard | Settle | Ended | Quiet


@dataclass(frozen=True, slots=True)
class _Limits:
    """`Endpointing` in frames."""

    endpoint: int
    settle: int
    min_speech: int
    heard: int
    pre_roll: int
    longest: int
    checkpoint: int

    @classmethod
    def of(cls, e: Endpointing) -> Self:
        def frames(seconds: float) -> int:
            return max(1, math.ceil(seconds * RATE / FRAME))

        return cls(
            endpoint=frames(e.endpoint_silence_s),
            settle=frames(e.settle_silence_s),
            min_speech=frames(e.min_speech_s),
            heard=frames(e.heard_s),
            pre_roll=frames(e.pre_roll_s),
            longest=frames(e.longest_s),
            checkpoint=frames(e.checkpoint_silence_s),
        )


class Endpointer:
    """Hears one stretch: takes frames until it gives `Ended` or `Quiet`; then it is over."""

    def __init__(self, endpointing: Endpointing) -> None:
        self._start = endpointing.start_probability
        self._end = endpointing.end_probability
        self._limits = _Limits.of(endpointing)
        self._recent: deque[bytes] = deque(maxlen=self._limits.pre_roll + self._limits.min_speech)
        self._held: list[bytes] = []  # silence after `Settle`: only decoded if speech goes on
        self._frames = 0
        self._voiced = 0  # frames of speech in a row
        self._silent = 0  # frames of silence in a row
        self._spoken = 0  # frames of speech in the utterance
        self._first = -1  # the utterance's first frame, -1 before
        self._told = False  # of enough speech

    def push(self, pcm: bytes, probability: float) -> list[Action]:
        """The next frame."""
        self._frames += 1
        if probability >= (self._end if self._voiced else self._start):
            self._voiced += 1
            self._silent = 0
        else:
            self._voiced = 0
            self._silent += 1
        return self._wait(pcm) if self._first < 0 else self._listen(pcm)

    def finish(self, pcm: bytes = b"") -> list[Action]:
        """The audio ends, with these last samples: less than a frame."""
        end = self._frames * FRAME + len(pcm) // 2
        if self._first < 0:
            return [Quiet(end)]
        if self._silent:
            return [Ended(self._speech_end(), end)]
        return [Decode(pcm), Ended(end, end)] if pcm else [Ended(end, end)]

    def _wait(self, pcm: bytes) -> list[Action]:
        self._recent.append(pcm)
        limits = self._limits
        if self._voiced >= limits.min_speech:
            self._first = self._frames - len(self._recent)
            self._spoken = self._voiced
            speech = (self._frames - self._voiced) * FRAME
            actions: list[Action] = [Started(speech, self._first * FRAME), Decode(b"".join(self._recent))]
            return actions + self._heard()
        if not self._voiced and self._frames >= limits.pre_roll + limits.checkpoint:
            return [Quiet((self._frames - limits.pre_roll) * FRAME)]
        return []

    def _listen(self, pcm: bytes) -> list[Action]:
        limits = self._limits
        actions: list[Action] = []
        if self._voiced:
            self._spoken += 1
            actions += [Decode(b"".join(self._held) + pcm), *self._heard()]
            self._held.clear()
        elif self._silent > limits.settle:
            self._held.append(pcm)
        else:
            actions.append(Decode(pcm))
        if self._silent >= limits.endpoint or self._frames - self._first >= limits.longest:
            silence = min(self._silent, limits.pre_roll)
            actions.append(Ended(self._speech_end(), (self._frames - silence) * FRAME))
        elif self._silent == limits.settle:
            actions.append(Settle())
        return actions

    def _heard(self) -> list[Action]:
        if self._told or self._spoken < self._limits.heard:
            return []
        self._told = True
        return [Heard()]

    def _speech_end(self) -> int:
        return (self._frames - self._silent) * FRAME
