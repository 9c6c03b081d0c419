"""The STT worker's settings; the only place where it reads the environment."""

from pydantic import Field

from stt_worker.engines.choice import EngineName, default_decoders
from stt_worker.utterance import Endpointing
from stt_worker.vad import VadName
from voicebus.chassis.settings import ServiceSettings

SESSIONS_PER_DECODER = 8


class SttSettings(ServiceSettings):
    """Read from environment variables of the same names in capitals."""

    stt_engine: EngineName = "pocketsphinx"
    stt_vad: VadName = "silero"  # what tells speech from silence; `loudness` takes any sound for speech
    stt_decoders: int = Field(default_factory=default_decoders, ge=1)  # utterances that are decoded at the same time
    stt_sessions: int = Field(default=0, ge=0)  # held at most; 0: eight per decoder, as most of them are silent
    stt_endpoint_silence_s: float = Field(default=0.5, ge=0.1, le=5)  # an utterance is over after so much silence
    stt_idle_s: float = Field(default=5.0, ge=0.5)  # a stream without frames for so long is finished and given back
    stt_instant_text: str = "what time is it in new york"  # what the engine `instant` understands

    def capacity(self) -> int:
        """Sessions that the worker holds at most."""
        return self.stt_sessions or SESSIONS_PER_DECODER * self.stt_decoders

    def endpointing(self) -> Endpointing:
        """When speech begins and ends."""
        return Endpointing(endpoint_silence_s=self.stt_endpoint_silence_s)
