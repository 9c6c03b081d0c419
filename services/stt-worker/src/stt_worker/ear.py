"""The half of listening that needs no recogniser: from the bytes of a stream to utterances.

At each cut point the resampler and the voice detector start afresh, here as in a process that begins at this
checkpoint. So what is heard depends on the bytes alone, not on how they came in chunks or who listened before.
"""

from collections.abc import Iterator

import numpy as np

from stt_worker.audio import FRAME, RATE, Checkpoint, Encoding, Resampler, Samples, pcm16
from stt_worker.source import Source
from stt_worker.utterance import Action, Ended, Endpointer, Endpointing, Quiet
from stt_worker.vad import Vad
from stt_worker.wav import WavHeader

BLOCKS_PER_S = 50
SKIP_BYTES = 64 * 1024  # behind the last sample of a WAV file: so often the cut point moves on


class Passage:
    """The stream from a cut point to the next: source frames in, actions out."""

    def __init__(self, encoding: Encoding, offset: int, vad: Vad, endpointing: Endpointing) -> None:
        vad.reset()
        self.encoding = encoding
        self.samples = 0  # 16 kHz, in whole frames, heard so far
        self._begins = offset
        self._vad = vad
        self._resampler = Resampler(encoding.rate)
        self._rest: Samples = np.empty(0, np.float32)
        self._endpointer = Endpointer(endpointing)

    def push(self, data: bytes) -> Iterator[Action]:
        """Whole frames of the source. Nothing may follow `Ended` or `Quiet`."""
        return self._hear(self._resampler.push(self.encoding.mono(data)))

    def flush(self) -> Iterator[Action]:
        """What the resampler held back, as after the last `push`."""
        return self._hear(self._resampler.flush())

    def finish(self) -> list[Action]:
        """Ends with what is left after `flush`: less than a frame."""
        return self._endpointer.finish(pcm16(self._rest))

    def offset(self, sample: int) -> int:
        """The byte of the stream at which this sample lies."""
        return self._begins + max(sample, 0) * self.encoding.rate // RATE * self.encoding.frame_bytes

    def time_ms(self, sample: int) -> int:
        """When this sample sounds, in milliseconds since the start of the stream."""
        return round(self.encoding.time_ms(self._begins) + sample * 1000 / RATE)

    def _hear(self, samples: Samples) -> Iterator[Action]:
        self._rest = np.concatenate((self._rest, samples))
        while len(self._rest) >= FRAME:
            frame, self._rest = self._rest[:FRAME].copy(), self._rest[FRAME:]
            self.samples += FRAME
            yield from self._endpointer.push(pcm16(frame), self._vad.probability(frame))


class Ear:
    """One stream, from a checkpoint on. `vad` is its own as long as it listens."""

    def __init__(self, checkpoint: Checkpoint, vad: Vad, endpointing: Endpointing) -> None:
        self.cut = checkpoint  # where the last `Ended` or `Quiet` has cut
        self.passage: Passage | None = None  # in which the last action lies
        self._vad = vad
        self._endpointing = endpointing
        self._pre_roll = int(endpointing.pre_roll_s * RATE) + FRAME
        self._header = WavHeader()
        self._source = Source(checkpoint.offset, checkpoint.carry)
        self._over = False
        if checkpoint.encoding:
            self._begin(checkpoint.encoding, checkpoint.offset)

    def write(self, data: bytes) -> None:
        """The stream's next bytes; `hear` then tells what is in them."""
        self._source.write(data)

    def hear(self) -> Iterator[Action]:
        """What the bytes so far hold.

        Raises:
            BadRequest: `audio_invalid` or `audio_unsupported`.
        """
        encoding = self._encoding()
        if encoding is None:
            return
        yield from self._read(_block(encoding))
        if encoding.end is not None and self._source.end >= encoding.end:
            if not self._over:
                self._over = True
                yield from self._finish(encoding)
            yield from self._skip(encoding, SKIP_BYTES)

    def finish(self) -> Iterator[Action]:
        """The stream ends, or pauses for long: what is open ends with it. The last call.

        `cut` is the end of the bytes then; what is less than a frame is carried along.

        Raises:
            BadRequest: as `hear`.
        """
        encoding = self._encoding()
        if encoding is None:
            self.cut = Checkpoint(carry=self._source.unread)
            yield Quiet(0)
        elif self._over:
            yield from self._skip(encoding, 1)
        else:
            yield from self._finish(encoding)

    def _encoding(self) -> Encoding | None:
        if self.passage:
            return self.passage.encoding
        found = self._header.read(self._source.unread)
        if found is None:
            return None
        encoding = Encoding.of_wav(found)
        self._begin(encoding, encoding.start)
        return encoding

    def _begin(self, encoding: Encoding, offset: int) -> None:
        self.passage = Passage(encoding, offset, self._vad, self._endpointing)
        self._source.seek(offset)
        self._over = encoding.end is not None and offset >= encoding.end

    def _read(self, size: int) -> Iterator[Action]:
        """Hears what is there, in pieces of this size."""
        while (passage := self.passage) and (data := self._source.take(size, before=passage.encoding.end)) is not None:
            yield from self._cutting(passage, passage.push(data))

    def _cutting(self, passage: Passage, actions: Iterator[Action]) -> Iterator[Action]:
        for action in actions:
            if isinstance(action, Ended | Quiet):
                self.cut = Checkpoint(offset=passage.offset(action.cut), encoding=passage.encoding)
                yield action
                self._begin(passage.encoding, self.cut.offset)
                return
            yield action
        self._source.forget(passage.offset(passage.samples - self._pre_roll))

    def _finish(self, encoding: Encoding) -> Iterator[Action]:
        passage = None
        while passage is not self.passage:  # what is held back may hold a cut point; behind it, all begins again
            yield from self._read(_block(encoding))
            yield from self._read(encoding.frame_bytes)
            if (passage := self.passage) is not None:
                yield from self._cutting(passage, passage.flush())
        if passage is not None:
            offset, carry = self._source.offset, self._source.unread
            if self._over and encoding.end is not None:
                offset, carry = encoding.end, b""
            self.cut = Checkpoint(offset=offset, encoding=encoding, carry=carry)
            yield from passage.finish()

    def _skip(self, encoding: Encoding, least: int) -> Iterator[Action]:
        """Cuts behind what follows the samples, if that is at least so many bytes."""
        end = self._source.end
        if end - self.cut.offset >= least:
            self._source.seek(end)
            self._source.forget(end)
            self.cut = Checkpoint(offset=end, encoding=encoding)
            yield Quiet(0)


def _block(encoding: Encoding) -> int:
    return encoding.rate // BLOCKS_PER_S * encoding.frame_bytes
