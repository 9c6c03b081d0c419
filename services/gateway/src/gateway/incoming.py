"""Steps ① and ②: what one client says, carried out in its order."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway import metrics
from gateway.auth import Caller
from gateway.client import Client, Closed
from gateway.commands import CommandHandler
from gateway.frames import text_frame
from gateway.limits import Near
from gateway.microphone import Microphone
from gateway.outgoing import Outgoing
from gateway.problems import problem_data
from gateway.state import Gateway
from gateway.stopwatch import Stopwatch
from voicebus.contract import events, payloads
from voicebus.contract.close import Close
from voicebus.contract.codec import AudioAckBodies, load_command, message_ref
from voicebus.contract.commands import Audio, AudioStart, Auth, Command, Ping, SetMode, SwitchAgent, Text
from voicebus.contract.errors import BadRequest, BusFull, Refused, VoicebusError
from voicebus.contract.payloads import Mode

_READ_AHEAD: Final = 16  # messages that may wait; then the client's socket is not read


class Incoming:
    """Of one connection. What comes before `begin` waits."""

    __slots__ = (
        *("_ack", "_address", "_begun", "_client", "_gateway", "_microphone", "_mode", "_outgoing", "_renewed"),
        *("_waiting", "_working"),
    )

    def __init__(
        self,
        client: Client,
        gateway: Gateway,
        outgoing: Outgoing,
        *,
        mode: Mode,
        address: str,
        renewed: Callable[[Caller], None],
    ) -> None:
        self._client = client
        self._gateway = gateway
        self._outgoing = outgoing
        self._mode = mode
        self._address = address
        self._renewed = renewed  # the client has another token
        self._begun = False
        self._working = False
        self._waiting: deque[str | bytes] | None = None
        self._microphone: Microphone | None = None  # once there is sound
        self._ack: tuple[str, str, AudioAckBodies] | None = None  # how it is acknowledged: of which stream and agent

    def begin(self, near: Near | None) -> None:
        """The client is welcome; it is warned if a limit is near."""
        self._begun = True
        if near:
            self._client.start(self._warn(near))
        self._work()

    def heard(self, message: str | bytes) -> None:
        """A message of the client."""
        metrics.received.count += 1
        if self._waiting is None:
            if isinstance(message, bytes) and self._take_sound(message):
                return
            self._waiting = deque()
        self._waiting.append(message)
        if len(self._waiting) >= _READ_AHEAD:
            self._client.link.pause_reading()
        self._work()

    def _take_sound(self, data: bytes) -> bool:
        """Hands it to the microphone, if that has a stream and room, and nothing that was said before is under way."""
        if self._working or self._microphone is None or not self._microphone.take(data):
            return False
        self._time_sound(data)
        return True

    def _work(self) -> None:
        if self._begun and not self._working and self._waiting:
            self._working = True
            self._client.start(self._work_off(), goes_on=True)

    async def _work_off(self) -> None:
        """Carries out what waits, in order."""
        while self._waiting:
            message = self._waiting.popleft()
            if len(self._waiting) == _READ_AHEAD - 1:
                self._client.link.resume_reading()
            if isinstance(message, bytes):
                self._time_sound(message)
                await self._ears().feed(message)
            else:
                await self._hear(message)
                self._read_at_ticks()
            await asyncio.sleep(0)  # what needed no waiting must not keep the others from their turn
        self._waiting = None
        self._working = False

    async def _hear(self, raw: str) -> None:
        ref = None
        try:
            command = load_command(raw, limit=self._gateway.settings.message_max)
            ref = getattr(command, "id", None)
            seq = await self._carry_out(command)
        except (BadRequest, Refused, BusFull) as error:
            if error.code == "session_ended":
                raise Closed(Close.ENDED, error.code) from error
            await self._complain(error, ref or message_ref(raw))
            return
        if ref is not None and seq is not None:
            await self._client.tell(events.Ack, payloads.AckData(id=ref, seq=seq))

    async def _carry_out(self, command: Command) -> int | None:
        if isinstance(command, Ping):
            await self._client.tell(events.Pong)
            return None
        if isinstance(command, Auth):
            return await self._renew_token(command)
        self._client.caller.require("sessions:write")
        await self._let_in(command)
        self._time_command(command)
        handler = CommandHandler(
            self._gateway.bus, self._client.session_id, self._ears(), agents=self._gateway.settings.agents
        )
        seq = await handler.handle(command, agent_type=self._client.agent)
        if isinstance(command, SetMode):
            self._mode = command.mode
        return seq

    async def _let_in(self, command: Command) -> None:
        """Raises `Refused` if there is no room for the command, or too many like it came."""
        gateway, session_id, sub = self._gateway, self._client.session_id, self._client.caller.sub
        if isinstance(command, Text | Audio):
            spoken = isinstance(command, Audio)
            await self._warn(await gateway.admission.message(session_id, sub, command.id, self._mode, spoken=spoken))
        elif isinstance(command, SetMode | SwitchAgent):
            await self._warn(await gateway.limits.message(session_id, sub, command.id))
        elif isinstance(command, AudioStart) and not command.offset:
            gateway.admission.admit(self._mode, spoken=True)

    async def _renew_token(self, command: Auth) -> int:
        before = self._client.caller
        caller = await self._gateway.admit(command.token, self._address)
        if caller.sub != before.sub:
            raise Refused("token_invalid", "The token belongs to someone else.")
        for scope in before.scopes:
            caller.require(scope)
        self._renewed(caller)
        return (await self._gateway.bus.sessions.get(self._client.session_id)).position.seq

    # Sound.

    def _read_at_ticks(self) -> None:
        """While the client speaks, together with others who do."""
        if self._microphone is not None:
            client, ticks = self._client, self._gateway.connections.ticks
            client.link.read_at(ticks if self._microphone.is_open else None, client)

    def _ears(self) -> Microphone:
        if self._microphone is None:
            client, inbox = self._client, self._gateway.bus.inbox
            self._microphone = Microphone(
                inbox,
                client.session_id,
                client,
                acknowledge=self._acknowledge_audio,
                acknowledge_now=self._acknowledge_audio_now,
                complain=self._complain_of_sound,
                pay=self._pay,
                start=client.start,
                soon=self._gateway.connections.ticks.act,
                later=self._gateway.connections.in_a_while,
            )
        return self._microphone

    async def _acknowledge_audio(self, stream: str, offset: int) -> None:
        await self._client.tell(events.AudioAck, payloads.AudioAckData(stream=stream, offset=offset))

    def _acknowledge_audio_now(self, stream: str, offset: int) -> bool:
        client = self._client
        if client.link.blocked:
            return False
        if self._ack is None or self._ack[:2] != (stream, client.agent):
            bodies = AudioAckBodies(stream, session_id=client.session_id, agent_type=client.agent)
            self._ack = stream, client.agent, bodies
        client.link.write(text_frame(self._ack[2].of(offset)))
        return True

    async def _complain_of_sound(self, error: VoicebusError) -> None:
        self._read_at_ticks()  # the stream may be over with it
        await self._complain(error)

    async def _pay(self, stream: str, from_ms: int, to_ms: int) -> None:
        client = self._client
        await self._warn(await self._gateway.limits.audio(client.session_id, client.caller.sub, stream, from_ms, to_ms))

    def _time_sound(self, data: bytes) -> None:
        if self._outgoing.stopwatch is not None:
            self._outgoing.stopwatch.heard(len(data))

    def _time_command(self, command: Command) -> None:
        if isinstance(command, Text | AudioStart):
            if self._outgoing.stopwatch is None:
                self._outgoing.stopwatch = Stopwatch()
            self._outgoing.stopwatch.command(command)

    # What the client is told of it.

    async def _warn(self, near: Near | None) -> None:
        if near:
            await self._client.tell(events.Warning, near.problem)

    async def _complain(self, error: VoicebusError, ref: str | None = None) -> None:
        metrics.refused.labels(error.code).inc()
        await self._client.tell(events.Error, problem_data(error, ref))
