"""What stages send each other through their mailboxes."""

from typing import Annotated, Literal

from pydantic import Field

from voicebus.contract.audio import AudioSpec
from voicebus.contract.payloads import Frozen


class UserTurn(Frozen):
    """Input of the agent: what the user said. The turn's number is assigned by the script that mails it."""

    kind: Literal["user"] = "user"
    turn: int = 0
    id: str
    content: str
    input: Literal["text", "voice"]


class Say(Frozen):
    """Input of the agent: a text to be said as it is. The turn's number is assigned by the script that mails it."""

    kind: Literal["say"] = "say"
    turn: int = 0
    id: str
    content: str


class Sentence(Frozen):
    """Input of TTS: a piece of an answer to be spoken."""

    kind: Literal["sentence"] = "sentence"
    turn: int
    response_id: str
    segment: int  # from 0 within the turn
    text: str
    agent_type: str = "personal"


class AudioStarted(Frozen):
    """Input of STT: a microphone stream opens at byte `offset`."""

    kind: Literal["start"] = "start"
    stream: str
    spec: AudioSpec
    offset: int = 0


class AudioStopped(Frozen):
    """Input of STT: the stream ends at byte `offset`."""

    kind: Literal["stop"] = "stop"
    stream: str
    offset: int


class AudioChunk(Frozen):
    """Input of STT: the stream's bytes from `offset` on. Travels as raw fields, not as JSON."""

    kind: Literal["audio"] = "audio"
    stream: str
    offset: int
    data: bytes


Mail = UserTurn | Say | Sentence | AudioStarted | AudioStopped | AudioChunk
AnyMail = Annotated[UserTurn | Say | Sentence | AudioStarted | AudioStopped, Field(discriminator="kind")]
