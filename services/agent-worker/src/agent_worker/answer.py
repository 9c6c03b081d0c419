"""Steps ③ to ⑤ on their way out: one model response as tokens for the clients and sentences for TTS.

A token that comes behind a pause goes at once, others together, every 20 ms and with those of other turns.
A sentence goes in the same write as the token that completed it.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Literal
from uuid import uuid4

from agent_worker.beat import Beat
from agent_worker.sentences import SentenceSplitter
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.codec import TokenBodies
from voicebus.contract.events import Metric, Thinking
from voicebus.contract.mail import Sentence
from voicebus.contract.payloads import MetricData, StatusData
from voicebus.contract.sessions import Session

PAUSE_S: Final = 0.04  # a model that says something less often is not waited for
SETTLE_S: Final = 0.001  # a model that ends so soon has its whole answer in one write
ANNOUNCE_AFTER_S: Final = 0.005  # a model that answers sooner has its thinking and its words in one write


@dataclass(frozen=True)
class TurnContext:
    """The turn that all writes belong to."""

    session: Session
    turn: int
    began: float  # time.perf_counter()

    @property
    def spoken(self) -> bool:
        """Whether answers are spoken."""
        return self.session.mode == "voice"

    @property
    def envelope(self) -> dict[str, Any]:
        """The fields that every event of the turn carries."""
        return {"session_id": self.session.session_id, "agent_type": self.session.agent_type, "turn": self.turn}

    def ms(self) -> float:
        """Milliseconds since the turn began here."""
        return round((time.perf_counter() - self.began) * 1000, 1)

    def metric(self, name: Literal["first_token_ms", "turn_ms"], value: float) -> Metric:
        """A measured latency of the turn."""
        return Metric(**self.envelope, data=MetricData(name=name, value=value))


class Answer:
    """One model response, as its text comes in. `run` writes it out until `close`; then `rest` is what is left."""

    def __init__(
        self,
        lease: Lease,
        context: TurnContext,
        beat: Beat,
        *,
        first_segment: int,
        measured: bool,
        said: Mapping[int, str] | None = None,
    ) -> None:
        self.response_id = uuid4().hex
        self.text = ""
        self.first_seq = 0  # of its first token; 0 while there is none
        self.segments = 0  # sentences so far
        self.first_token_ms: float | None = None
        self._lease = lease
        self._context = context
        self._beat = beat
        self._first_segment = first_segment
        self._splitter = SentenceSplitter() if context.spoken else None
        self._tokens = TokenBodies(self.response_id, **context.envelope)
        self._pending: list[str] = []
        self._some = asyncio.Event()
        self._spoke_at = -inf  # loop time of the last write with tokens
        self._timed = False  # it will be woken at the next beat
        self._closed = asyncio.Event()
        self._announced = False
        self._measured = measured  # whether its first token is the turn's first
        self._said = said or {}  # sentences by segment that were heard of responses that this one replaces

    def add(self, text: str) -> None:
        """More of the answer."""
        if text:
            self.text += text
            self._pending.append(text)
            if self._timed:
                return
            if asyncio.get_running_loop().time() - self._spoke_at >= PAUSE_S:
                self._some.set()
            else:
                self._timed = True
                self._beat.call(self._some.set)

    def close(self) -> None:
        """Nothing more comes: `run` returns once its write is done."""
        self._closed.set()
        self._some.set()

    async def run(self) -> None:
        """Announce that the model thinks, then write what comes, until closed.

        Raises:
            LeaseLost: another worker may own the stage.
            TurnCancelled: the turn was interrupted.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(ANNOUNCE_AFTER_S):
                await self._some.wait()
                async with asyncio.timeout(SETTLE_S):
                    await self._closed.wait()
        loop = asyncio.get_running_loop()
        self._some.set()
        while True:
            await self._some.wait()
            self._some.clear()
            if self._closed.is_set():
                return
            self._timed = False
            if has_tokens := bool(self._pending):
                self._spoke_at = loop.time()
            seq = await self._lease.emit(self._take())
            if has_tokens:
                self.first_seq = self.first_seq or seq

    def rest(self, *, whole: bool = True) -> Emission:
        """The last write of the response, to which the caller adds what ends it; half a sentence is not spoken."""
        emission = self._take()
        if self._splitter is not None and whole:
            self._speak(emission, self._splitter.flush())
        return emission

    def _take(self) -> Emission:
        emission = Emission(self._context.turn, self.response_id)
        if not self._announced:
            self._announced = True
            emission.ephemeral(Thinking(**self._context.envelope, data=StatusData(status="thinking")))
        if self._pending:
            text = "".join(self._pending)
            self._pending.clear()
            if self.first_token_ms is None:
                emission.begin()
            emission.body(self._tokens.of(text))
            if self.first_token_ms is None:
                self.first_token_ms = self._context.ms()
                if self._measured:
                    emission.ephemeral(self._context.metric("first_token_ms", self.first_token_ms))
            if self._splitter is not None:
                self._speak(emission, self._splitter.feed(text))
        return emission

    def _speak(self, emission: Emission, sentences: list[str]) -> None:
        for text in sentences:
            segment = self._first_segment + self.segments
            self.segments += 1
            if self._said.get(segment) == text:
                continue
            self._said = {}  # from here on it is another answer
            sentence = Sentence(
                turn=self._context.turn,
                response_id=self.response_id,
                segment=segment,
                text=text,
                agent_type=self._context.session.agent_type,
            )
            emission.sentence(sentence)
