"""Workers of the model: they do what the services do, with the same writes in the same order, without engines.

Whose mail asks for a tool, and how long an answer is, its id decides, so that every attempt does the same.
"""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import msgpack
import orjson
from model.actors import PUBLISH, Process, World
from model.expected import CHUNKS, Expected, demand, transcript

from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.bus.stages import Stages
from voicebus.chassis.held import Held
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.contract import events, payloads
from voicebus.contract.errors import LeaseLost, TurnCancelled, VoicebusError
from voicebus.contract.keys import Stage
from voicebus.contract.mail import AudioChunk, AudioStarted, AudioStopped, Mail, Sentence, UserTurn
from voicebus.contract.sessions import HistoryEntry

CAPACITY = 2
UTTERANCE = 8  # bytes
RATE = 100  # samples a second: ten samples are worth waiting for


class Holding(Held):
    """A held stage whose waiting ends when the machine says so."""

    def __init__(self, lease: Lease, draining: asyncio.Event) -> None:
        super().__init__(lease, draining)
        self.waiting: asyncio.Future[bool] | None = None

    async def wait(self, timeout_s: float) -> bool:
        """Until woken (True) or tired (False)."""
        if self._woken.is_set():
            self._woken.clear()
            return True
        self.waiting = asyncio.get_running_loop().create_future()
        try:
            return await self.waiting
        finally:
            self.waiting = None

    def wake(self) -> None:
        """There may be mail."""
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(True)
        else:
            super().wake()

    def tire(self) -> None:
        """Nothing came for long."""
        if self.waiting and not self.waiting.done():
            self.waiting.set_result(False)


class Worker(Process):
    """One worker of a stage."""

    def __init__(self, world: World, stage: Stage, name: str) -> None:
        super().__init__(world)
        self.stage: Stage = stage
        self.name = name
        self.stages = Stages(self.calls, world.keys, world.settings, PUBLISH, stage=stage, worker=name)
        self.held: dict[str, Holding] = {}
        self.words: deque[tuple[str, bytes]] = deque()  # wake-ups on their way: the session a bell rang for, or b"…"
        self.draining = asyncio.Event()
        self._looking = False
        self._writes = 0
        serve = {"stt": self._transcribe, "agent": None, "tts": None}[stage]
        handle = {"stt": None, "agent": self._answer, "tts": self._speak}[stage]
        self._serve = serve or mail_by_mail(stage, handle)  # type: ignore[arg-type]  # one of both is there

    # --- its life ---

    @property
    def may_look(self) -> bool:
        """Whether it looks for sessions."""
        return not self._looking and not self.draining.is_set() and len(self.held) < CAPACITY

    def look(self, session_id: str = "") -> None:
        """Tries to lease what waits, or this session."""
        if self.may_look:
            self._looking = True
            self.spawn(self._look(session_id))

    def renew(self, session_id: str) -> None:
        """Keeps a stage."""
        self.spawn(self._renew(self.held[session_id]))

    def drain(self) -> None:
        """Takes nothing new, hands over what it holds."""
        self.draining.set()
        for held in self.held.values():
            held.wake()

    def hear(self) -> None:
        """The next word arrives."""
        rung, word = self.words.popleft()
        if rung:
            self.look(rung)
            return
        kind, raw_id, more = word.split(b"|", 2)
        if (held := self.held.get(raw_id.decode())) is None:
            return
        if kind == b"end":
            held.lose()
        elif kind.startswith(b"cancel:"):
            held.cancel(int(kind[7:]))
        else:
            tell: Callable[[bytes], None] = {
                b"wake": lambda _: held.lease.woken(),
                b"mail": held.lease.bring,
                b"tail": held.lease.bring_tail,
            }[kind]
            tell(more)
            held.wake()

    async def _look(self, only: str) -> None:
        try:
            for session_id in [only] if only else await self.stages.waiting(range(self.world.keys.partitions)):
                if session_id not in self.held and len(self.held) < CAPACITY:
                    lease = await self.stages.lease(session_id)
                    if lease:
                        held = self.held[session_id] = Holding(lease, self.draining)
                        held.task = self.spawn(self._own(held))
        except VoicebusError:
            pass
        finally:
            self._looking = False

    async def _own(self, held: Holding) -> None:
        try:
            await self._serve(held)
        except LeaseLost:
            pass
        except VoicebusError:
            with suppress(LeaseLost, VoicebusError):
                await held.lease.hand_over()
        finally:
            if self.held.get(held.session_id) is held:
                del self.held[held.session_id]

    async def _renew(self, held: Holding) -> None:
        try:
            renewal = await held.lease.renew()
        except LeaseLost:
            held.lose()
        except VoicebusError:
            pass
        else:
            for turn in renewal.cancelled:
                held.cancel(turn)
            if renewal.waiting:
                held.wake()

    def _mark(self, held: Held, turn: int | None = None) -> dict[str, Any]:
        """An envelope's fields: of which write an event is."""
        self._writes += 1
        write = f"{self.name}/{self._writes}"
        mark = {"stage": self.stage, "token": held.lease.token, "write": write}
        return {"session_id": held.session_id, "agent_type": "a", "turn": turn, "metadata": mark}

    # --- agent ---

    async def _answer(self, held: Held, delivery: Delivery) -> None:
        assert isinstance(delivery.mail, UserTurn)
        turn = Answering(held, delivery, delivery.mail)
        demand(all(step["turn"] == turn.number for step in turn.journal), "another turn's journal:", turn.journal)
        if delivery.cancelled:
            await self._wind_up(turn)
            return
        try:
            await held.while_not_cancelled(turn.number, self._work(turn))
        except TurnCancelled:
            await self._wind_up(turn)

    async def _work(self, turn: "Answering") -> None:
        cut = turn.delivery.response
        if cut and not turn.step("responded", cut):
            data = payloads.ResponseRestartedData(response_id=cut, discard_from_seq=turn.delivery.response_from)
            event = events.ResponseRestarted(**self._mark(turn.held, turn.number), data=data)
            await turn.held.lease.emit(Emission(turn.number).restart(event))
        if turn.plan & 1:
            if not turn.step("responded"):
                await self._respond(turn, is_last=False)
            if not turn.step("finished"):
                await self._call_tool(turn)
        await self._respond(turn, is_last=True)

    async def _respond(self, turn: "Answering", *, is_last: bool) -> None:
        lease, number = turn.held.lease, turn.number
        response_id = f"{lease.token}/{number}/{int(is_last)}"
        segments, tokens = turn.segments, 1 + (turn.plan >> 2) % 4
        writes = []
        for token in range(tokens):
            emission = Emission(number, response_id)
            if not token:
                status = payloads.StatusData(status="thinking")
                emission.begin().ephemeral(events.Thinking(**self._mark(turn.held, number), data=status))
            data = payloads.TokenData(token=str(token), response_id=response_id)
            emission.event(events.Token(**self._mark(turn.held, number), data=data))
            if token % 2 == 0:
                text = f"Sentence {segments} of {response_id}."
                emission.sentence(Sentence(turn=number, response_id=response_id, segment=segments, text=text))
                segments += 1
            writes.append(emission)
        for first in range(0, tokens, 2):
            await lease.emit(*writes[first : first + 2])
        if is_last:
            answer = payloads.ResponseData(content=str(tokens), response_id=response_id, segments=segments)
            ends = Emission(number, response_id).event(events.Response(**self._mark(turn.held, number), data=answer))
            await lease.emit(turn.ends(ends))
        else:
            step = turn.record("responded", id=response_id, segments=segments)
            await lease.emit(Emission(number, response_id).journal(step))

    async def _call_tool(self, turn: "Answering") -> None:
        lease, number = turn.held.lease, turn.number
        repeatable = bool(turn.plan & 2)
        known = turn.step("started")
        if not known:
            call = payloads.ToolCallData(tool_call_id=turn.mail.id, tool_name="tool", parameters={})
            event = events.ToolCall(**self._mark(turn.held, number), data=call)
            await lease.emit(Emission(number).event(event).journal(turn.record("started")))
        if not known or repeatable:
            await self.calls.pause()
            if not repeatable:
                self.world.expected[lease.session_id].effects[turn.mail.id] += 1
            await self.calls.pause()
        outcome: payloads.ToolOutcomeName = "unknown" if known and not repeatable else "ok"
        result = payloads.ToolResultData(
            tool_call_id=turn.mail.id, tool_name="tool", is_error=outcome == "unknown", outcome=outcome, duration_ms=0
        )
        event_of_result = events.ToolResult(**self._mark(turn.held, number), data=result)
        await lease.emit(Emission(number).event(event_of_result).journal(turn.record("finished")))

    async def _wind_up(self, turn: "Answering") -> None:
        cut = await turn.held.lease.cut(turn.number)
        emission = Emission()
        if turn.journal or not cut.joined:
            emission = turn.ends(emission)
        else:
            emission.answered(turn.number).cursor(turn.delivery.id)
        await turn.held.lease.emit(emission)

    # --- tts ---

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
                events.Envelope(**self._mark(held, mail.turn)),
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

    # --- stt ---

    async def _transcribe(self, held: Held) -> None:
        delivery = await held.lease.next()
        ear = Ear(self, held, self.world.expected[held.session_id], delivery.note if delivery else "")
        read_to = held.lease.cursor
        while True:
            mails = await held.lease.mail_after(read_to, most=3)
            if mails and delivery is None:  # the note comes with mail
                delivery = await held.lease.next()
                ear = Ear(self, held, self.world.expected[held.session_id], delivery.note if delivery else "")
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


@dataclass
class Answering:
    """A turn at work."""

    held: Held
    delivery: Delivery
    mail: UserTurn
    journal: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.journal = [orjson.loads(raw) for raw in self.delivery.journal]

    @property
    def number(self) -> int:
        """The turn's."""
        return self.mail.turn

    @property
    def plan(self) -> int:
        """Bits: 1 a tool is called, 2 it may be repeated; then the number of tokens."""
        return zlib.crc32(self.mail.id.encode())

    @property
    def segments(self) -> int:
        """Sentences of the finished response."""
        step = self.step("responded")
        return int(step["segments"]) if step else 0

    def step(self, kind: str, response_id: str = "") -> dict[str, Any] | None:
        """A finished step of this kind."""
        return next((s for s in self.journal if s["kind"] == kind and response_id in ("", s.get("id"))), None)

    def record(self, kind: str, **more: object) -> bytes:
        """A step that is now done, as it is journalled."""
        step = {"kind": kind, "turn": self.number, **more}
        self.journal.append(step)
        return orjson.dumps(step)

    def ends(self, emission: Emission) -> Emission:
        """The turn's last write."""
        entry = HistoryEntry(turn=self.number, user="?", assistant="!").model_dump_json().encode()
        return emission.history(entry, keep=50).answered(self.number).cursor(self.delivery.id)


class Ear:
    """A stream as a worker hears it: utterances of a fixed length, and a shorter one where it ends or pauses."""

    def __init__(self, worker: Worker, held: Held, expected: Expected, note: str) -> None:
        self._worker = worker
        self._held = held
        self._expected = expected
        stream, at = orjson.loads(note) if note else ("", 0)
        self._stream: str = stream
        self._from: int = at  # the byte that the audio begins with
        self._marks: list[tuple[str, int]] = []  # mail that was read, and where its bytes end
        self.audio = b""

    async def take(self, mail_id: str, mail: Mail) -> None:
        """One mail."""
        if isinstance(mail, AudioStarted):
            await self.pause()
            self._stream, self._from = mail.stream, mail.offset
            await self._held.lease.emit(self._moved(Emission(), mail_id))
        elif isinstance(mail, AudioStopped):
            known = self._stream == mail.stream and self._from + len(self.audio) == mail.offset
            demand(known or "stt" in self._expected.gave_up, "a stop out of place:", mail, self._stream, self._from)
            emission = await self._final(len(self.audio)) if self.audio else Emission()
            self._stream, self._marks = "", []
            await self._held.lease.emit(emission.note("").cursor(mail_id))
        elif isinstance(mail, AudioChunk):
            await self._hear(mail_id, mail)

    async def _hear(self, mail_id: str, chunk: AudioChunk) -> None:
        heard = self._from + len(self.audio)
        if chunk.stream != self._stream or chunk.offset > heard:
            demand("stt" in self._expected.gave_up, "audio is missing before", chunk, "of", self._stream, heard)
            self._stream, self._from, self.audio, self._marks = chunk.stream, chunk.offset, b"", []
            heard = chunk.offset
        self._marks.append((mail_id, chunk.offset + len(chunk.data)))
        fresh = chunk.data[max(0, heard - chunk.offset) :]
        if fresh and not self.audio and zlib.crc32(f"{self._stream}/{heard}".encode()) % 3 == 0:
            await self._held.lease.interrupt(f"{self._stream}/{heard}", agent_type="a")
        self.audio += fresh
        while len(self.audio) >= UTTERANCE:
            await self._cut(UTTERANCE)

    async def pause(self) -> None:
        """Finish what is open, and let go of mail that was heard."""
        if self.audio:
            await self._cut(len(self.audio))
        elif self._marks:
            await self._held.lease.emit(self._moved(Emission(), self._pass_by()))

    async def _cut(self, count: int) -> None:
        emission = await self._final(count)
        await self._held.lease.emit(self._moved(emission, self._pass_by()))

    async def _final(self, count: int) -> Emission:
        audio, self.audio = self.audio[:count], self.audio[count:]
        text = transcript(self._stream, self._from, audio)
        self._from += count
        said = f"{self._stream}/{self._from}"
        fields = self._worker._mark(self._held)
        stt = events.Stt(**fields, data=payloads.SttData(text=text, is_final=True))
        fields = self._worker._mark(self._held)
        user = events.User(**fields, data=payloads.UserData(content=text, input="voice", id=said))
        return Emission().open_turn(stt, user, UserTurn(id=said, content=text, input="voice"))

    def _pass_by(self) -> str:
        passed = ""
        while self._marks and self._marks[0][1] <= self._from:
            passed = self._marks.pop(0)[0]
        return passed

    def _moved(self, emission: Emission, mail_id: str) -> Emission:
        emission.note(orjson.dumps([self._stream, self._from]).decode())
        return emission.cursor(mail_id) if mail_id else emission


def brought_mail(word: bytes) -> tuple[str, str, str] | None:
    """Session, lease and mail of a wake-up that brings its mail."""
    kind, session_id, more = word.split(b"|", 2)
    if kind != b"mail":
        return None
    token, _, packed = more.partition(b"|")
    mail_id = msgpack.unpackb(packed, raw=True)[0]
    return session_id.decode(), token.decode(), mail_id.decode()
