"""A session's microphone in the hands of this worker: mail in, emissions out."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog

from stt_worker import metrics
from stt_worker.audio import Checkpoint
from stt_worker.engines.engine import Decoding, EngineError, SttEngine
from stt_worker.engines.instant import InstantEngine
from stt_worker.events import Reporter, moved
from stt_worker.listen import Final, Listener, Partial, Silence, SpeechEvent, SpeechHeard
from stt_worker.progress import Mark, Marks, Progress
from stt_worker.utterance import Endpointing
from stt_worker.vad import Vad
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.bus.sessions import Sessions
from voicebus.contract.errors import BadRequest, StageFailed, VoicebusError
from voicebus.contract.mail import AudioChunk, AudioStarted, AudioStopped, Mail

MAILS = 16  # read at a time
RETRY_PAUSE_S = 0.1

_log = structlog.get_logger(__name__)
_deaf = InstantEngine("")  # hears where an utterance ends that can't be decoded


class Microphone:
    """Reads the mailbox and moves the cursor, always to the mail before a cut point.

    An utterance whose decoding fails is decoded again from its cut point; after `attempts` it is given up.
    """

    def __init__(
        self,
        lease: Lease,
        sessions: Sessions,
        reporter: Reporter,
        engine: SttEngine,
        vad: Vad,
        endpointing: Endpointing,
        *,
        attempts: int,
    ) -> None:
        self._lease = lease
        self._sessions = sessions
        self._reporter = reporter
        self._engine = engine
        self._vad = vad
        self._endpointing = endpointing
        self._attempts = attempts
        self._cursor = self._read_to = lease.cursor
        self._progress: Progress | None = None
        self._position = 0  # byte of the stream that comes next
        self._marks = Marks()
        self._listener: Listener | None = None
        self._failures = 0  # at the utterance behind the last cut point
        self._before = ""  # what was said before the utterance that is open, and goes on in it

    @property
    def is_open(self) -> bool:
        """Whether a stream is open."""
        return self._progress is not None

    @property
    def speaking(self) -> bool:
        """Whether an utterance is open."""
        return self._listener is not None and self._listener.speaking

    def resume(self, note: str, before: str) -> None:
        """Goes on where the stage's last owner stood; `before` was said and is in no turn yet."""
        self._before = before
        if note:
            self._progress = Progress.model_validate_json(note)
            self._position = self._progress.checkpoint.needs_from

    async def read(self) -> int:
        """Takes the mail that waits, at most `MAILS`; returns how many.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        mails = await self._lease.mail_after(self._read_to, most=MAILS)
        for mail_id, mail in mails:
            self._read_to = mail_id
            try:
                await self._take(mail_id, mail)
            except EngineError as error:
                await self._recover(error)
                break
        return len(mails)

    async def pause(self) -> None:
        """No audio has come for some time: finishes what is open, so that nothing waits behind the cursor.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        try:
            await self._finish()
        except EngineError as error:
            await self._recover(error)
            return  # what is open is heard again
        except BadRequest as error:
            await self._refuse(self._read_to, error)
        if self._progress:
            await self._move(self._progress.checkpoint)
        if again := self._ask_again(self._position):
            await self._emit(again, self._progress, None)

    async def close(self) -> None:
        """Gives up what is open."""
        if self._listener:
            listener, self._listener = self._listener, None
            await listener.close()

    async def _take(self, mail_id: str, mail: Mail) -> None:
        try:
            match mail:
                case AudioStarted():
                    await self._start(mail_id, mail)
                case AudioChunk():
                    await self._hear(mail_id, mail)
                case AudioStopped():
                    await self._stop(mail_id)
                case _:
                    raise TypeError(f"not for this stage: {mail!r}")
        except BadRequest as error:
            await self._refuse(mail_id, error)

    async def _start(self, mail_id: str, mail: AudioStarted) -> None:
        await self._finish()
        self._progress = progress = Progress(stream=mail.stream, start_id=mail_id)
        checkpoint = Checkpoint.at_start(mail.spec)
        self._position = checkpoint.offset
        await self._emit(Emission(), progress.at(checkpoint), mail_id)

    async def _stop(self, mail_id: str) -> None:
        """Ends the stream, in the same write as its last utterance."""
        heard: list[SpeechEvent] = []
        if self._listener:
            async with aclosing(self._listener.finish()) as news:
                heard = [event async for event in news]
            await self.close()
        *before, last = heard or [Silence(Checkpoint())]
        for event in before:
            await self._tell(event)
        await self._tell(last, stop_id=mail_id)

    async def _hear(self, mail_id: str, chunk: AudioChunk) -> None:
        progress = self._progress
        if progress is None or progress.stream != chunk.stream:
            self._progress = Progress(stream=chunk.stream, start_id=mail_id)
            raise BadRequest("audio_invalid", "The stream's beginning is missing: start it anew.")
        if progress.refused:
            await self._emit(Emission(), progress, mail_id)
        else:
            await self._feed(mail_id, chunk)

    async def _feed(self, mail_id: str, chunk: AudioChunk) -> None:
        if chunk.offset > self._position:
            await self._skip_hole(chunk.offset)
        end = chunk.offset + len(chunk.data)
        self._marks.add(Mark(mail_id, end, asyncio.get_running_loop().time()))
        fresh = chunk.data[max(0, self._position - chunk.offset) :]
        if fresh:
            self._position = end
            await self._tell_all(self._listening().feed(fresh))

    async def _skip_hole(self, end: int) -> None:
        """Mail was lost: goes on behind it. Whatever interrupted a question there is not heard any more."""
        await self._finish()
        progress = self._opened()
        checkpoint = Checkpoint.behind_hole(progress.checkpoint.encoding, end)
        self._progress = progress.at(checkpoint)
        self._position = checkpoint.offset
        if again := self._ask_again(checkpoint.offset):
            await self._emit(again, self._progress, None)

    def _listening(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(self._open, self._vad, self._opened().checkpoint, self._endpointing)
        return self._listener

    def _opened(self) -> Progress:
        if self._progress is None:
            raise RuntimeError("no stream is open")
        return self._progress

    async def _open(self) -> Decoding:
        engine = self._engine if self._failures < self._attempts else _deaf
        return await engine.open()

    async def _finish(self) -> None:
        if self._listener:
            await self._tell_all(self._listener.finish())
            await self.close()

    async def _tell_all(self, news: AsyncGenerator[SpeechEvent, None]) -> None:
        async with aclosing(news):
            async for event in news:
                await self._tell(event)

    async def _tell(self, event: SpeechEvent, *, stop_id: str = "") -> None:
        """With `stop_id`, the mail that ends the stream, the last thing that was heard ends it."""
        match event:
            case SpeechHeard():
                await self._barge_in(event)
            case Partial():
                await self._lease.emit(self._reporter.partial(event))
            case Final():
                await self._tell_final(event, stop_id)
            case Silence(checkpoint, after_speech=True) if self._failures >= self._attempts:
                self._failures = 0
                metrics.utterances.labels("given_up").inc()
                emission = self._ask_again(checkpoint.offset) or Emission()
                await self._move(checkpoint, self._reporter.error(StageFailed("stt_failed"), emission), stop_id=stop_id)
            case Silence(checkpoint, after_speech=True):
                self._failures = 0
                metrics.utterances.labels("not_understood").inc()
                await self._move(checkpoint, self._ask_again(checkpoint.offset) or Emission(), stop_id=stop_id)
            case Silence(checkpoint):
                # What a last owner's speech has interrupted waits for that speech to be heard here, too.
                await self._move(checkpoint, self._ask_again(checkpoint.offset) if stop_id else None, stop_id=stop_id)

    async def _barge_in(self, heard: SpeechHeard) -> None:
        """Somebody speaks: whatever the assistant says or does ends here."""
        session = await self._sessions.get(self._lease.session_id)
        self._reporter.agent_type = session.agent_type
        speech_id = self._reporter.speech_id(self._opened(), "begin", heard.start_ms)
        self._before = await self._lease.interrupt(speech_id, agent_type=session.agent_type)

    def _ask_again(self, at: int) -> Emission | None:
        """What was interrupted before it was answered, if what interrupted it can't be understood."""
        if not self._before or self._progress is None:
            return None
        before, self._before = self._before, ""
        return self._reporter.again(self._progress, before, at)

    async def _tell_final(self, final: Final, stop_id: str) -> None:
        progress = self._opened()
        arrived_s = self._marks.arrival_s(final.speech_end)
        final_s = None if arrived_s is None else asyncio.get_running_loop().time() - arrived_s
        before, self._before = self._before, ""
        emission = self._reporter.final(progress, final, before=before, final_ms=final_s and final_s * 1000)
        await self._move(final.checkpoint, emission, stop_id=stop_id)
        self._failures = 0
        metrics.utterances.labels("ok").inc()
        if final_s is not None:
            metrics.final_seconds.observe(final_s)
        _log.info(
            "utterance_transcribed",
            stream=progress.stream,
            start_ms=final.start_ms,
            end_ms=final.end_ms,
            confidence=final.confidence,
            final_ms=final_s and round(final_s * 1000, 1),
        )

    async def _move(self, checkpoint: Checkpoint, emission: Emission | None = None, *, stop_id: str = "") -> None:
        """Moves cut point and cursor on; in silence only if that lets go of mail."""
        if stop_id:
            self._marks.clear()
            await self._emit(emission or Emission(), None, stop_id)
            return
        mail_id = self._marks.pass_by(checkpoint.needs_from)
        if self._progress and (emission or mail_id):
            await self._emit(emission or Emission(), self._progress.at(checkpoint), mail_id)

    async def _emit(self, emission: Emission, progress: Progress | None, mail_id: str | None) -> None:
        await self._lease.emit(moved(emission, progress, mail_id))
        self._progress = progress
        self._cursor = mail_id or self._cursor

    async def _refuse(self, mail_id: str, error: VoicebusError) -> None:
        """The stream can't be decoded: says so once, and drops what comes of it."""
        await self.close()
        self._marks.clear()
        progress = self._opened()
        _log.info("stream_refused", stream=progress.stream, code=error.code, reason=error.message)
        await self._emit(self._reporter.error(error), progress.refuse(), mail_id)

    async def _recover(self, error: EngineError) -> None:
        """Goes back to the last cut point."""
        self._failures += 1
        metrics.utterances.labels("failed").inc()
        _log.warning("decoding_failed", failures=self._failures, reason=error.message)
        await self.close()
        self._marks.clear()
        self._read_to = self._cursor
        self._position = self._progress.checkpoint.needs_from if self._progress else 0
        await asyncio.sleep(RETRY_PAUSE_S)
