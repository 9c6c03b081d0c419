"""Settings that all services share. A service adds its own in its `settings.py`; nobody else reads the environment."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from voicebus.bus.settings import BusSettings


class ServiceSettings(BaseSettings):
    """Read from environment variables of the same names in capitals."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    redis_url: str = "redis://localhost:6379/0"
    redis_prefix: str = "vb"
    partitions: int = Field(default=64, ge=1, le=4_096)  # fixed at first start
    log_max: int = Field(default=10_000, ge=100)  # events kept in a session's log, about
    history_turns: int = Field(default=50, ge=1)  # of a conversation that the model sees
    attempts_max: int = Field(default=3, ge=1)  # at one mail
    lease_s: float = Field(default=9.0, ge=0.3)  # without renewal another worker takes over
    drain_s: float = Field(default=20.0, ge=0)  # how long SIGTERM waits for what is under way
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65_535)  # /livez, /readyz, /metrics of a worker; 0: any free one

    def bus(self) -> BusSettings:
        """What the bus wants to know."""
        return BusSettings(
            redis_url=self.redis_url,
            prefix=self.redis_prefix,
            partitions=self.partitions,
            log_max=self.log_max,
            history_turns=self.history_turns,
            attempts_max=self.attempts_max,
            lease_ms=int(self.lease_s * 1000),
        )
