"""The TTS worker's settings; the only place where it reads the environment."""

from pydantic import Field

from tts_worker.engines.choice import EngineName
from tts_worker.engines.engine import Voice
from voicebus.chassis.settings import ServiceSettings


class TtsSettings(ServiceSettings):
    """Read from environment variables of the same names in capitals.

    Workers that serve the same Redis have the same engine and voice, so that one can go on in the middle of another's
    sentence.
    """

    tts_engine: EngineName = "auto"  # flite where it is installed, else espeak
    tts_voice: str = ""  # flite: slt, rms, awb, kal, kal16; espeak: a language or voice such as en-us, de, fr+f3
    tts_speed: float = Field(default=1.0, ge=0.5, le=2.0)  # times the voice's normal rate
    tts_pitch: float = Field(default=1.0, ge=0.5, le=2.0)  # times the voice's normal pitch
    tts_chunk_ms: int = Field(default=60, ge=20, le=1_000)
    tts_syntheses: int = Field(default=4, ge=1)  # sentences that are synthesised at the same time
    tts_sessions: int = Field(default=200, ge=1)  # that the worker holds at most

    def voice(self) -> Voice:
        """How to speak."""
        return Voice(self.tts_voice, speed=self.tts_speed, pitch=self.tts_pitch)
