"""Workers of the stt and tts stages: what the services do, without engines."""

import zlib
from typing import ClassVar

import orjson
from model.actors import World
from model.demand import demand
from model.expected import CHUNKS, Expected, transcript
from model.workers import Worker

from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.chassis.held import Held
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.contract import events, payloads
from voicebus.contract.errors import TurnCancelled
from voicebus.contract.keys import Stage
from voicebus.contract.mail import AudioChunk, AudioStarted, AudioStopped, Mail, Sentence, UserTurn

UTTERANCE = 8  # bytes
RATE = 25  # samples a second: ten samples are worth waiting for


class Speaker(Worker):
    """Speaks sentences, some chunks each."""

    stage: ClassVar[Stage] = "tts"

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._serve = mail_by_mail(self.stage, self._speak)

    async def serve(self, held: Held) -> None:
        """Speaks what is mailed."""
        await self._serve(held)

    async def _speak(self, held: Held, delivery: Delivery) -> None:
        assert isinstance(delivery.mail, Sentence)
        cancelled = delivery.cancelled
        if not cancelled:
            try:
                await held.while_not_cancelled(delivery.mail.turn, self._speak_on(held, delivery, delivery.mail))
            except TurnCancelled:
                cancelled = True
        if cancelled:
            await held.lease.emit(Emission().cursor(delivery.id).note(""))

    async def _speak_on(self, held: Held, delivery: Delivery, mail: Sentence) -> None:
        mail_id, _, spoken = delivery.note.partition("|")
        for index in range(int(spoken) if mail_id == delivery.id else 0, CHUNKS):
            is_last = index == CHUNKS - 1
            emission = Emission(mail.turn, mail.response_id).speech(
                events.Envelope(**self.mark(held, mail.turn)),
                f"{index:02}".encode() * 10,
                segment=mail.segment,
                sample_rate=RATE,
                is_last=is_last,
                text=None if index else mail.text,
            )
            if is_last:
                emission.cursor(delivery.id).note("")
            else:
                emission.note(f"{delivery.id}|{index + 1}")
            await held.lease.emit(emission)
            if held.draining:
                return
            if (mail.turn + mail.segment) % 4 == 2:
                await self.calls.pause()  # it is hard to speak


class Listener(Worker):
    """Understands streams."""

    stage: ClassVar[Stage] = "stt"

    async def serve(self, held: Held) -> None:
        """Listens until nothing comes."""
        await held.lease.next()  # counts the attempt
        ear = Ear(self, held, self.world.expected[held.session_id])
        read_to = held.lease.cursor
        while True:
            mails = await held.lease.mail_after(read_to, most=3)
            for mail_id, mail in mails:
                read_to = mail_id
                await ear.take(mail_id, mail)
            if held.draining and not ear.audio:
                await held.lease.hand_over()
                return
            if not mails and not await held.wait(0):
                await ear.pause()
                if await held.lease.release():
                    return


class Ear:
    """A stream as a worker hears it: utterances of a fixed length, and a shorter one where it ends or pauses.

    What was said before, and interrupted before anything of its answer was heard, goes on in the next utterance; it is
    asked again if that is without words, or does not come.
    """

    def __init__(self, worker: Listener, held: Held, expected: Expected) -> None:
        self._worker = worker
        self._held = held
        self._expected = expected
        stream, at = orjson.loads(held.lease.note) if held.lease.note else ("", 0)
        self._stream: str = stream
        self._from: int = at  # the byte that the audio begins with
        self._marks: list[tuple[str, int]] = []  # mail that was read, and where its bytes end
        self._before = held.lease.joined
        self.audio = b""

    @property
    def _may_miss(self) -> bool:
        """Whether mail may be missing: it was given up, or another worker has the stage by now, and is done with it."""
        return "stt" in self._expected.gave_up or self._expected.owners["stt"].token != self._held.lease.token

    async def take(self, mail_id: str, mail: Mail) -> None:
        """One mail."""
        if isinstance(mail, AudioStarted):
            if self.audio:
                await self._cut(len(self.audio))
            self._stream, self._from, self._marks = mail.stream, mail.offset, []
            await self._held.lease.emit(self._moved(Emission(), mail_id))
        elif isinstance(mail, AudioStopped):
            known = self._stream == mail.stream and self._from + len(self.audio) == mail.offset
            demand(known or self._may_miss, "a stop out of place:", mail, self._stream, self._from)
            emission = self._final(len(self.audio)) if self.audio else self._ask_again() or Emission()
            self._stream, self._marks = "", []
            await self._held.lease.emit(emission.note("").cursor(mail_id))
        elif isinstance(mail, AudioChunk):
            await self._hear(mail_id, mail)

    async def _hear(self, mail_id: str, chunk: AudioChunk) -> None:
        heard = self._from + len(self.audio)
        if chunk.stream != self._stream or chunk.offset > heard:
            demand(self._may_miss, "audio is missing before", chunk, "of", self._stream, heard)
            self._stream, self._from, self.audio, self._marks = chunk.stream, chunk.offset, b"", []
            heard = chunk.offset
            if again := self._ask_again():
                await self._held.lease.emit(self._moved(again, ""))
        self._marks.append((mail_id, chunk.offset + len(chunk.data)))
        fresh = chunk.data[max(0, heard - chunk.offset) :]
        if fresh and not self.audio and zlib.crc32(f"{self._stream}/{heard}".encode()) % 2 == 0:
            await self._worker.calls.pause()  # it takes a while to be sure that somebody speaks
            self._before = await self._held.lease.interrupt(f"{self._stream}/{heard}", agent_type="a")
            if self._before:
                await self._worker.calls.pause()  # the user goes on speaking
        self.audio += fresh
        while len(self.audio) >= UTTERANCE:
            await self._cut(UTTERANCE)

    async def pause(self) -> None:
        """Finish what is open, and let go of mail that was heard."""
        if self.audio:
            await self._cut(len(self.audio))
        elif self._marks:
            await self._held.lease.emit(self._moved(Emission(), self._pass_by()))
        if self._stream and (again := self._ask_again()):
            await self._held.lease.emit(self._moved(again, ""))

    async def _cut(self, count: int) -> None:
        emission = self._final(count)
        await self._held.lease.emit(self._moved(emission, self._pass_by()))

    def _final(self, count: int) -> Emission:
        audio, self.audio = self.audio[:count], self.audio[count:]
        text = transcript(self._stream, self._from, audio)
        self._from += count
        if not text:
            return self._ask_again() or Emission()
        stt = events.Stt(**self._worker.mark(self._held), data=payloads.SttData(text=text, is_final=True))
        before, self._before = self._before, ""
        return self._turn(stt, f"{before} {text}" if before else text, f"{self._stream}/{self._from}")

    def _ask_again(self) -> Emission | None:
        if not self._before:
            return None
        before, self._before = self._before, ""
        return self._turn(None, before, f"{self._stream}/{self._from}/again")

    def _turn(self, stt: events.Stt | None, content: str, said: str) -> Emission:
        data = payloads.UserData(content=content, input="voice", id=said)
        user = events.User(**self._worker.mark(self._held), data=data)
        return Emission().open_turn(stt, user, UserTurn(id=said, content=content, input="voice"))

    def _pass_by(self) -> str:
        passed = ""
        while self._marks and self._marks[0][1] <= self._from:
            passed = self._marks.pop(0)[0]
        return passed

    def _moved(self, emission: Emission, mail_id: str) -> Emission:
        emission.note(orjson.dumps([self._stream, self._from]).decode())
        return emission.cursor(mail_id) if mail_id else emission
