"""Recognises with pocketsphinx, each utterance in a forked process; `voicebus.chassis.forkserver` says why."""

import json
from types import TracebackType
from typing import Any, Final, Self

from stt_worker.engines.engine import EngineError, RecognitionError, Transcript, Word
from stt_worker.engines.wire import AUDIO, FINISH, SETTLE
from voicebus.chassis.forks import Fork, ForkServer, raised_as
from voicebus.chassis.room import Room

START_TIMEOUT_S = 20.0
PATIENCE_S = 15.0  # for one answer


class PocketsphinxEngine:
    """At most `decoders` utterances at a time; further ones wait their turn."""

    name: Final = "pocketsphinx"

    def __init__(self, *, decoders: int) -> None:
        self._decoders = decoders
        self._room = Room(decoders)
        self._wanted = 0
        self._server = ForkServer(
            "stt_worker.engines.forkserver", start_timeout_s=START_TIMEOUT_S, patience_s=PATIENCE_S
        )

    @property
    def load(self) -> float:
        """Utterances that are decoded or wait for it, per decoder."""
        return self._wanted / self._decoders

    @property
    def waited_s(self) -> float:
        """How long the first utterance that waits has waited."""
        return self._room.waited_s

    async def __aenter__(self) -> Self:
        with raised_as(EngineError, RecognitionError):
            await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def open(self) -> "ForkedDecoding":
        """A fork for the next utterance, once a decoder is free."""
        self._wanted += 1
        try:
            await self._room.enter()
            try:
                with raised_as(EngineError, RecognitionError):
                    fork = await self._server.fork()
            except BaseException:
                self._room.leave()
                raise
        except BaseException:
            self._wanted -= 1
            raise
        return ForkedDecoding(self, fork)

    def give_back(self) -> None:
        """An utterance has ended, and its process too."""
        self._wanted -= 1
        self._room.leave()


class ForkedDecoding:
    """An utterance in a process of its own."""

    def __init__(self, engine: PocketsphinxEngine, fork: Fork) -> None:
        self._engine = engine
        self._fork: Fork | None = fork

    async def feed(self, pcm: bytes) -> str:
        """Decode the next piece."""
        return str(await self._ask(AUDIO, pcm))

    async def settle(self) -> None:
        """Begin the second pass."""
        self._open_fork().send(SETTLE)

    async def finish(self) -> Transcript:
        """The transcript of the second pass."""
        answer = await self._ask(FINISH)
        return Transcript(answer["text"], answer["confidence"], tuple(Word(**word) for word in answer["words"]))

    async def close(self) -> None:
        """End the process."""
        if self._fork:
            fork, self._fork = self._fork, None
            try:
                await fork.close()
            finally:
                self._engine.give_back()

    async def _ask(self, kind: bytes, content: bytes = b"") -> Any:
        fork = self._open_fork()
        fork.send(kind, content)
        with raised_as(EngineError, RecognitionError):
            _, answer = await fork.receive()
        return json.loads(answer)

    def _open_fork(self) -> Fork:
        if self._fork is None:
            raise RuntimeError("the decoding is closed")
        return self._fork
