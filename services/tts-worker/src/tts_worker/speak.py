"""Step ⑥: a session's sentences become speech, chunk by chunk while they are synthesised.

Each write says in its note how many samples of the sentence are out. An engine gives the same bytes for the same text,
so whoever goes on after a crash, a failure or a drain joins at this sample, and clients hear one unbroken sentence.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tts_worker import metrics
from tts_worker.engines.engine import SAMPLE_BYTES, SynthesisError, TtsEngine
from tts_worker.read_ahead import ReadAhead
from tts_worker.speakable import speakable
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.chassis.held import Held
from voicebus.chassis.logs import canonical_line
from voicebus.contract.errors import TurnCancelled
from voicebus.contract.events import Envelope
from voicebus.contract.mail import Sentence


class Speaker:
    """Handles the mail of the tts stage with one engine."""

    def __init__(self, engine: TtsEngine) -> None:
        self._engine = engine

    async def handle(self, held: Held, delivery: Delivery) -> None:
        """Speak one sentence; when the worker drains, up to where its note says.

        Raises:
            LeaseLost: another worker may own the stage.
            SynthesisError: the engine failed at this text; it is tried again, and goes to the dead letters in the end.
            EngineError: the engine can't be used at all; another worker may try.
        """
        if not isinstance(delivery.mail, Sentence):
            raise TypeError(f"not a sentence: {delivery.mail!r}")
        segment = Segment(held.session_id, delivery.id, delivery.mail, self._engine.sample_rate)
        segment.go_on_from(delivery.note)
        sentence = delivery.mail
        with canonical_line(
            "segment_spoken", session_id=held.session_id, turn=sentence.turn, segment=sentence.segment
        ) as line:
            try:
                line["outcome"] = "cancelled" if delivery.cancelled else await self._speak(held, segment, line)
            except TurnCancelled:
                line["outcome"] = "cancelled"
            if line["outcome"] == "cancelled":
                await held.lease.emit(Emission().cursor(delivery.id).note(""))

    async def _speak(self, held: Held, segment: "Segment", line: dict[str, Any]) -> str:
        resumed = segment.samples
        source = self._engine.speak(speakable(segment.sentence.text), skip_samples=resumed)
        try:
            async with ReadAhead(source) as chunks:
                ended = await _emit_all(held, segment, chunks)
        except SynthesisError:
            metrics.failures.inc()
            line |= {"outcome": "failed", "samples": segment.samples}
            raise
        spoken_s = (segment.samples - resumed) / segment.sample_rate
        line |= {"resumed_at": resumed, "spoken_ms": round(spoken_s * 1000), "first_ms": segment.first_ms()}
        return "ok" if ended else "handed_over"


async def _emit_all(held: Held, segment: "Segment", chunks: ReadAhead) -> bool:
    """Emit the chunks as they come; False if the worker drains before the end.

    The newest chunk is kept back until another one follows: only then it is known not to be the last.
    """
    newest: list[bytes] = []
    while batch := await held.while_not_cancelled(segment.sentence.turn, chunks.batch()):
        *ready, last = newest + batch
        newest = [last]
        if ready:
            await held.lease.emit(segment.goes_on(ready))
        if held.draining:
            return False
    await held.lease.emit(segment.ends(b"".join(newest)))
    return True


@dataclass(slots=True)
class Segment:
    """A sentence on its way out: what each write of it holds, and how far it has come."""

    session_id: str
    mail_id: str
    sentence: Sentence
    sample_rate: int
    samples: int = 0  # emitted so far, by whomever
    _began: float = field(default_factory=time.perf_counter)
    _first_s: float | None = None

    def go_on_from(self, note: str) -> None:
        """Take up what an earlier owner left of the same mail: `<mail id>|<samples emitted>`."""
        mail_id, _, samples = note.partition("|")
        if mail_id == self.mail_id:
            self.samples = int(samples)

    def goes_on(self, chunks: Sequence[bytes]) -> Emission:
        """Chunks that aren't the last."""
        emission = self._emission()
        for chunk in chunks:
            self._add(emission, chunk, is_last=False)
        return emission.note(f"{self.mail_id}|{self.samples}")

    def ends(self, chunk: bytes) -> Emission:
        """The last chunk, and the mail is done with. It may be empty: every segment has a last chunk to be seen."""
        emission = self._emission()
        self._add(emission, chunk, is_last=True)
        return emission.cursor(self.mail_id).note("")

    def first_ms(self) -> float | None:
        """How long the first chunk took; None if there was none."""
        return None if self._first_s is None else round(self._first_s * 1000, 1)

    def _emission(self) -> Emission:
        return Emission(self.sentence.turn, self.sentence.response_id)

    def _add(self, emission: Emission, chunk: bytes, *, is_last: bool) -> None:
        if self._first_s is None:
            self._first_s = time.perf_counter() - self._began
            metrics.first_chunk_seconds.observe(self._first_s)
        emission.speech(
            Envelope(session_id=self.session_id, agent_type=self.sentence.agent_type, turn=self.sentence.turn),
            chunk,
            segment=self.sentence.segment,
            sample_rate=self.sample_rate,
            is_last=is_last,
            text=None if self.samples else self.sentence.text,
        )
        samples = len(chunk) // SAMPLE_BYTES
        self.samples += samples
        metrics.speech_seconds.inc(samples / self.sample_rate)
