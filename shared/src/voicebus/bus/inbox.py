"""What clients put in: text, microphone audio, interruptions. Each message with an id has one effect."""

import zlib
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from voicebus.bus.calls import Calls
from voicebus.bus.interruption import interrupt, opening
from voicebus.bus.lane import Addressee, PartKeys
from voicebus.bus.replies import accepted
from voicebus.bus.settings import BusSettings
from voicebus.bus.wire import Arg
from voicebus.contract.audio import AudioSpec
from voicebus.contract.codec import event_body, mail_body
from voicebus.contract.errors import Refused
from voicebus.contract.events import Activity, AgentSwitch, Envelope, User
from voicebus.contract.keys import Keys
from voicebus.contract.mail import AudioStarted, Say, UserTurn
from voicebus.contract.payloads import ActivityData, AgentSwitchData, Mode, OnBusy, UserData

# Of one session, before audio is refused: 43 s of 48 kHz stereo floats, more than the longest utterance (30 s).
_WAITING_AUDIO_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message took effect, now or before; `seq` is the head of the log then."""

    seq: int
    turn: int | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class AudioOpened:
    """A microphone stream is open, or was opened and ended by an earlier copy of this message (`done`)."""

    expected: int  # the offset that is expected next, in bytes
    seq: int
    done: bool = False


class Inbox:
    """Writes clients' input to the bus, as one script each."""

    def __init__(self, calls: Calls, keys: Keys, settings: BusSettings, publish: str) -> None:
        self._calls = calls
        self._keys = keys
        self._settings = settings
        self._publish = publish
        self._audio_head: tuple[Arg, ...] = (publish, "", settings.waiting_audio_max, _WAITING_AUDIO_BYTES)

    def _head(self) -> tuple[Arg, Arg, Arg]:
        return (self._publish, "", self._settings.log_max)

    async def submit(
        self,
        session_id: str,
        content: str,
        *,
        agent_type: str,
        message_id: str | None = None,
        on_busy: OnBusy = "queue",
    ) -> Accepted:
        """A user's text: opens a turn, behind those that wait or in place of what is answered or heard.

        Raises:
            Refused: `id_conflict`, `overloaded`, `session_not_found` or `session_ended`.
        """
        message_id = message_id or uuid4().hex
        user = User(
            session_id=session_id,
            agent_type=agent_type,
            data=UserData(content=content, input="text", id=message_id),
        )
        mail = UserTurn(id=message_id, content=content, input="text")
        return await self._open_turn(user, mail, digest("text", content, on_busy), on_busy)

    async def say(
        self,
        session_id: str,
        content: str,
        *,
        agent_type: str,
        message_id: str | None = None,
        on_busy: OnBusy = "queue",
    ) -> Accepted:
        """A text that the assistant is to say as it is: opens a turn as a user's text does.

        Raises:
            Refused: as `submit` does.
        """
        message_id = message_id or uuid4().hex
        data = ActivityData(activity_type="say", content=content)
        begun = Activity(session_id=session_id, agent_type=agent_type, data=data)
        mail = Say(id=message_id, content=content)
        return await self._open_turn(begun, mail, digest("say", content, on_busy), on_busy)

    async def _open_turn(self, event: Envelope, mail: UserTurn | Say, content_digest: int, on_busy: OnBusy) -> Accepted:
        k = self._keys.of(event.session_id)
        word, values = accepted(
            await self._calls.script(
                "submit",
                (
                    *(k.session, k.log, k.mail("agent"), k.ready("agent"), k.seen, k.deadlines),
                    *(k.journal, k.history, k.speech, k.mail("tts"), k.spoken),
                ),
                *self._head(),
                mail.id,
                content_digest,
                self._settings.waiting_turns_max,
                event_body(event),
                mail_body(mail),
                opening(event.session_id, event.agent_type) if on_busy == "interrupt" else "",
                mail.kind,
            )
        )
        return _accepted(word, values)

    async def knows(self, session_id: str, message_id: str) -> bool:
        """Whether a message with this id took effect before, as far as is remembered."""
        seen = self._keys.of(session_id).seen
        return await self._calls.command("ZSCORE", seen, message_id) is not None

    async def interrupt(
        self,
        session_id: str,
        *,
        agent_type: str,
        turn: int | None = None,
        played_ms: int | None = None,
        message_id: str | None = None,
    ) -> Accepted:
        """Cuts a turn short, by default all that are answered or heard; nothing happens if its playback is over."""
        reply = await interrupt(
            self._calls,
            self._keys.of(session_id),
            self._head(),
            agent_type=agent_type,
            message_id=message_id or uuid4().hex,
            digest=digest("interrupt", str(turn)),
            turn=turn,
            played_ms=played_ms,
        )
        word, (seq, *rest) = accepted(reply)
        return Accepted(seq=seq, turn=rest[0] if word == b"ok" else None, repeated=word == b"repeated")

    async def approve(
        self, session_id: str, tool_call_id: str, *, approved: bool, reason: str = "", message_id: str | None = None
    ) -> Accepted:
        """A person's word on a tool call that waits for it; the first one counts.

        Raises:
            Refused: `unknown_approval` (it does not wait: never asked, decided, expired, its turn is over),
                `id_conflict`, `session_not_found` or `session_ended`.
        """
        k = self._keys.of(session_id)
        state = "approved" if approved else "denied"
        word, values = accepted(
            await self._calls.script(
                "approve",
                (k.session, k.seen, k.deadlines),
                self._publish,
                "",
                message_id or uuid4().hex,
                digest("tool_approval", tool_call_id, state, reason),
                tool_call_id,
                state,
                reason,
            )
        )
        if word == b"unknown":
            raise Refused("unknown_approval")
        return _accepted(word, values)

    async def played(self, session_id: str, turn: int, segment: int, ms: int) -> None:
        """A client reports how much of a segment was heard."""
        k = self._keys.of(session_id)
        reply = await self._calls.script("played", (k.session, k.spoken), self._publish, "", turn, segment, ms)
        accepted(reply)

    async def set_mode(self, session_id: str, mode: Mode, message_id: str | None = None) -> Accepted:
        """Whether answers are spoken, from the next turn on."""
        return await self._configure(session_id, message_id, "mode", mode, b"")

    async def switch_agent(
        self, session_id: str, before: str, agent_type: str, message_id: str | None = None
    ) -> Accepted:
        """Another agent goes on with the conversation."""
        event = AgentSwitch(
            session_id=session_id,
            agent_type=agent_type,
            data=AgentSwitchData(from_=before, to=agent_type, reason="client"),
        )
        return await self._configure(session_id, message_id, "agent", agent_type, event_body(event))

    async def _configure(
        self, session_id: str, message_id: str | None, field: str, value: str, body: bytes
    ) -> Accepted:
        k = self._keys.of(session_id)
        word, values = accepted(
            await self._calls.script(
                "configure",
                (k.session, k.log, k.seen, k.deadlines),
                *self._head(),
                message_id or uuid4().hex,
                digest(field, value),
                field,
                value,
                body,
            )
        )
        return _accepted(word, values)

    async def audio_start(
        self,
        session_id: str,
        connection: str,
        stream: str,
        spec: AudioSpec,
        offset: int,
        message_id: str | None = None,
    ) -> AudioOpened:
        """Opens a microphone stream, or takes it over.

        Raises:
            Refused: `audio_busy`, `audio_gap`, `overloaded`, `id_conflict` (the message was another one, or the open
                stream is read in another way), `audio_not_open` (it was opened before, fell silent and was replaced),
                `audio_taken_over` (a repeated message, and another connection has the stream since),
                `session_not_found` or `session_ended`.
        """
        k = self._keys.of(session_id)
        mail = AudioStarted(stream=stream, spec=spec, offset=offset)
        read_as = spec.model_dump_json()
        word, values = accepted(
            await self._calls.script(
                "audio_start",
                (k.session, k.mail("stt"), k.ready("stt"), k.seen, k.deadlines),
                self._publish,
                "",
                message_id or uuid4().hex,
                digest("audio.start", stream, read_as, str(offset)),
                connection,
                stream,
                offset,
                mail_body(mail),
                self._settings.audio_idle_ms,
                read_as,
                self._settings.waiting_audio_max,
                _WAITING_AUDIO_BYTES,
            )
        )
        if word == b"gap":
            raise Refused("audio_gap", f"Offset {offset} is ahead: {values[0]} is expected.")
        return AudioOpened(expected=values[0], seq=values[1], done=word == b"done")

    async def audio_number(self, session_id: str, stream: str) -> int:
        """Which of the session's streams this is, counted from 1, or would be: a name may be used again."""
        names = ("audio.stream", "audio.number")
        open_now, number = await self._calls.command("HMGET", self._keys.of(session_id).session, *names)
        return int(number or 0) + int(open_now != stream.encode())

    async def audio(self, session_id: str, connection: str, stream: str, offset: int, data: bytes) -> int:
        """Appends bytes of the open stream; returns the offset below which all is safe.

        Raises:
            Refused: `audio_gap`, `audio_taken_over`, `audio_not_open`, `overloaded`, `session_not_found` or
                `session_ended`.
        """
        bytes_of_it = (connection, stream, offset, data)
        reply = await self._calls.start_part("audio", self._audio_head, self.audio_keys(session_id), bytes_of_it)
        return offset_of(reply, offset)

    def audio_keys(self, session_id: str) -> PartKeys:
        """Where a session's microphone writes."""
        k = self._keys.of(session_id)
        return PartKeys.of(k.session, k.mail("stt"), k.ready("stt"), k.deadlines)

    def send_audio(self, to: Addressee, keys: PartKeys, connection: str, stream: str, offset: int, data: bytes) -> None:
        """As `audio`, without waiting: `offset_of` reads the reply."""
        self._calls.send_part(to, "audio", self._audio_head, keys, (connection, stream, offset, data))

    async def audio_stop(
        self, session_id: str, connection: str, stream: str, message_id: str | None = None, *, end: int | None = None
    ) -> int:
        """Ends the open stream, if all its bytes below `end` have come; returns seq.

        Raises:
            Refused: `audio_gap`, `audio_taken_over`, `audio_not_open`, `id_conflict`, `session_not_found` or
                `session_ended`.
        """
        k = self._keys.of(session_id)
        word, values = accepted(
            await self._calls.script(
                "audio_stop",
                (k.session, k.mail("stt"), k.ready("stt"), k.seen),
                self._publish,
                "",
                message_id or "",
                digest("audio.stop", stream),
                connection,
                stream,
                "" if end is None else end,
            )
        )
        if word == b"gap":
            raise Refused("audio_gap", f"The stream ends at {end}, but {values[0]} is expected next.")
        return int(values[0])


def offset_of(reply: Any, offset: int) -> int:
    """Below which offset all is safe, by the reply to bytes that were sent for this one. Raises as `Inbox.audio`."""
    word, values = accepted(reply)
    if word == b"gap":
        raise Refused("audio_gap", f"Offset {offset} is ahead: {values[0]} is expected.")
    return int(values[0])


def digest(*content: str) -> int:
    """20 bits of a message's content, to tell a repeated message from another one with the same id."""
    return zlib.crc32("\0".join(content).encode("utf-8", "surrogatepass")) & 0xFFFFF


def _accepted(word: bytes, values: object) -> Accepted:
    seq, *turn = values if isinstance(values, list) else [0]
    return Accepted(seq=int(seq), turn=int(turn[0]) if turn else None, repeated=word == b"repeated")
