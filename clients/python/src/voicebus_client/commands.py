"""What an application can say on a connection."""

import asyncio
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Literal

from voicebus_client.outbox import Ack
from voicebus_client.upload import AudioSpec

Mode = Literal["text", "voice"]


class Commands(ABC):
    """Each method sends at once, or as soon as the connection is back; the message takes effect once.

    The future that it returns gives the `Ack`, or the `VoicebusError` with which the server refused. It may be left
    alone: the message goes out all the same.
    """

    @abstractmethod
    def _submit(self, message: Mapping[str, Any], message_id: str | None = None) -> asyncio.Future[Ack]:
        """Sends a message until it is acknowledged."""

    def send_text(
        self,
        content: str,
        *,
        id: str | None = None,  # noqa: A002 - the wire's name
        on_busy: Literal["queue", "interrupt"] = "queue",
    ) -> asyncio.Future[Ack]:
        """The user says something in writing. With an `id` of your own it stays one message, even said twice."""
        return self._submit({"type": "text", "content": content, "on_busy": on_busy}, id)

    def send_clip(
        self,
        audio: bytes,
        spec: AudioSpec,
        *,
        id: str | None = None,  # noqa: A002 - the wire's name
    ) -> asyncio.Future[Ack]:
        """The user says something in one whole recording (for a live one: `Connection.audio_stream`)."""
        return self._submit(
            {
                "type": "audio",
                "content": b64encode(audio).decode(),
                "format": spec.format,
                "sample_rate": spec.sample_rate,
                "channels": spec.channels,
            },
            id,
        )

    def interrupt(self, *, turn: int | None = None, played_ms: int | None = None) -> asyncio.Future[Ack]:
        """Stops a turn, by default the active or audible one; `played_ms`: how much of it was heard."""
        return self._submit(_given(type="interrupt", turn=turn, played_ms=played_ms))

    def set_mode(self, mode: Mode) -> asyncio.Future[Ack]:
        """Whether answers are spoken."""
        return self._submit({"type": "mode", "mode": mode})

    def approve_tool(self, tool_call_id: str, *, approved: bool = True, reason: str = "") -> asyncio.Future[Ack]:
        """A person's word on a `tool_approval_request`."""
        return self._submit(
            {"type": "tool_approval", "tool_call_id": tool_call_id, "approved": approved, "reason": reason}
        )

    def switch_agent(self, agent_type: str) -> asyncio.Future[Ack]:
        """Another agent shall go on."""
        return self._submit({"type": "agent_switch", "agent_type": agent_type})


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
