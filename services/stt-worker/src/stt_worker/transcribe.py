"""Step ③: a session's microphone audio becomes transcripts, and each utterance opens a turn.

The worker polls the mailboxes that it holds, since nobody is woken for single frames; a stream's start and stop wake it
at once. A stage is given back when its stream has stopped or no frame has come for some time, and handed over between
two utterances when the worker drains.
"""

import asyncio

from stt_worker.engines.engine import SttEngine
from stt_worker.events import Reporter
from stt_worker.microphone import MAILS, Microphone
from stt_worker.utterance import Endpointing
from stt_worker.vad import VadPool
from voicebus.bus.sessions import Sessions
from voicebus.chassis.held import Held

POLL_S = 0.04
POLL_BUSY_S = 0.12  # where all decoders are busy: who listens to more at once has it in the cache
LINGER_S = 1.0  # a stage without a stream is kept so long, for the next one


class Transcriber:
    """Serves the stt stage of many sessions with one engine.

    A stream without frames for `idle_s` is finished and given back. An utterance that can't be decoded is tried
    `attempts` times.
    """

    def __init__(
        self,
        sessions: Sessions,
        engine: SttEngine,
        vads: VadPool,
        *,
        endpointing: Endpointing,
        idle_s: float,
        attempts: int,
    ) -> None:
        self._sessions = sessions
        self._engine = engine
        self._vads = vads
        self._endpointing = endpointing
        self._idle_s = idle_s
        self._attempts = attempts

    async def serve(self, held: Held) -> None:
        """Transcribes what comes, until the stage was released or handed over.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        await held.lease.next()  # counts the attempt
        session = await self._sessions.get(held.session_id)
        reporter = Reporter(session.session_id, session.agent_type)
        async with self._vads.take() as vad:
            microphone = Microphone(
                held.lease, self._sessions, reporter, self._engine, vad, self._endpointing, attempts=self._attempts
            )
            microphone.resume(held.lease.note, held.lease.joined)
            try:
                await self._follow(held, microphone)
            finally:
                await microphone.close()

    async def _follow(self, held: Held, microphone: Microphone) -> None:
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while True:
            looked_at = loop.time()
            count = await microphone.read()
            if count:
                heard_at = loop.time()
            if held.draining and not microphone.speaking:
                await held.lease.hand_over()
                return
            patience_s = self._idle_s if microphone.is_open else LINGER_S
            if not count and looked_at - heard_at >= patience_s:
                await microphone.pause()
                if await held.lease.release():
                    return
                heard_at = loop.time()
            if count < MAILS:
                pause_s = _poll_s(self._engine.load) if microphone.is_open else LINGER_S
                await held.wait(max(0.0, looked_at + pause_s - loop.time()))


def _poll_s(load: float) -> float:
    """Seldom only where most decoders are busy: each look that is left out keeps a transcript waiting."""
    return POLL_S + (POLL_BUSY_S - POLL_S) * max(0.0, 2 * min(load, 1.0) - 1)
