"""Step ②: carries a client's commands out on the bus. Each returns the seq for its ack."""

import base64
from uuid import NAMESPACE_OID, uuid4, uuid5

from gateway.microphone import Microphone
from voicebus.bus.bus import Bus
from voicebus.contract.commands import (
    Audio,
    AudioStart,
    AudioStop,
    Command,
    Interrupt,
    Played,
    SetMode,
    SwitchAgent,
    Text,
    ToolApproval,
)
from voicebus.contract.errors import BadRequest, Refused

_CLIP_PIECE_BYTES = 65_536


class CommandHandler:
    """The commands of one connection to one session."""

    def __init__(self, bus: Bus, session_id: str, microphone: Microphone, *, agents: tuple[str, ...]) -> None:
        self._bus = bus
        self._inbox = bus.inbox
        self._session_id = session_id
        self._microphone = microphone
        self._agents = agents

    async def handle(self, command: Command, *, agent_type: str) -> int | None:
        """Carries the command out; None where there is nothing to acknowledge.

        Raises:
            BadRequest, Refused: with the code that the client gets.
        """
        match command:
            case Text():
                return await self._say(command, agent_type)
            case AudioStart():
                return (await self._microphone.start(command)).seq
            case AudioStop():
                return await self._microphone.stop(command)
            case Audio():
                return await self._hear_clip(command)
            case Interrupt():
                return await self._interrupt(command, agent_type)
            case Played():
                await self._inbox.played(self._session_id, command.turn, command.segment, command.ms)
            case SetMode() | SwitchAgent():
                return await self._configure(command, agent_type)
            case ToolApproval():
                return await self._decide(command)
        return None

    async def _say(self, command: Text, agent_type: str) -> int:
        if not command.content.strip():
            return await self._head()
        accepted = await self._inbox.submit(
            self._session_id,
            command.content,
            agent_type=agent_type,
            message_id=command.id,
            on_busy=command.on_busy,
        )
        return accepted.seq

    async def _interrupt(self, command: Interrupt, agent_type: str) -> int:
        accepted = await self._inbox.interrupt(
            self._session_id,
            agent_type=agent_type,
            turn=command.turn,
            played_ms=command.played_ms,
            message_id=command.id,
        )
        return accepted.seq

    async def _decide(self, command: ToolApproval) -> int:
        accepted = await self._inbox.approve(
            self._session_id,
            command.tool_call_id,
            approved=command.approved,
            reason=command.reason,
            message_id=command.id,
        )
        return accepted.seq

    async def _configure(self, command: SetMode | SwitchAgent, agent_type: str) -> int:
        if isinstance(command, SetMode):
            return (await self._inbox.set_mode(self._session_id, command.mode, command.id)).seq
        if command.agent_type not in self._agents:
            raise Refused("unknown_agent")
        accepted = await self._inbox.switch_agent(self._session_id, agent_type, command.agent_type, command.id)
        return accepted.seq

    async def _hear_clip(self, command: Audio) -> int:
        try:
            clip = base64.b64decode(command.content, validate=True)
        except ValueError as error:
            raise BadRequest("bad_message", "content: not base64") from error
        if command.format == "pcm16" and len(clip) % (2 * command.channels):
            raise BadRequest("audio_invalid", "content: the last sample is cut")
        # Named after the content, so that the same id with other audio is another message.
        stream = uuid5(NAMESPACE_OID, f"{command.id}\0{command.content}").hex if command.id else uuid4().hex
        opened = await self._microphone.start(
            AudioStart(
                id=command.id,
                stream=stream,
                format=command.format,
                sample_rate=command.sample_rate,
                channels=command.channels,
            )
        )
        if opened.done:
            return opened.seq
        for i in range(0, len(clip), _CLIP_PIECE_BYTES):
            await self._microphone.feed(clip[i : i + _CLIP_PIECE_BYTES])
        return await self._microphone.stop(AudioStop(stream=stream))

    async def _head(self) -> int:
        return (await self._bus.sessions.get(self._session_id)).position.seq
