"""The gateway's settings; the only place where it reads the environment."""

import math
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from voicebus.chassis.settings import ServiceSettings

Algorithm = Literal["HS256", "RS256", "ES256"]


class GatewaySettings(ServiceSettings):
    """Read from environment variables of the same names in capitals."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8_000, ge=0, le=65_535)
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ("http://localhost:3000", "http://localhost:8000")

    jwt_secret: SecretStr = SecretStr("")  # for HS256; signs what `voicebus token` makes
    jwt_secret_previous: SecretStr = SecretStr("")  # still accepted while tokens that it signed are about
    jwt_jwks: str = ""  # for RS256 and ES256: the issuer's keys, a file or an address (http, https)
    jwt_jwks_max_age_s: float = Field(default=300.0, gt=0)  # then they are read again
    jwt_jwks_pause_s: float = Field(default=10.0, gt=0)  # at least, between two attempts to read them
    jwt_jwks_timeout_s: float = Field(default=5.0, gt=0)
    jwt_algorithms: Annotated[tuple[Algorithm, ...], NoDecode] = ("HS256",)
    jwt_leeway_s: float = Field(default=10.0, ge=0, le=300)  # by which the issuer's clock may differ
    jwt_audience: str = "voicebus"
    jwt_issuer: str = "voicebus"
    token_in_query: bool = False  # whether `?token=` is accepted
    dev_mode: bool = False  # without a token one is the user `developer`; sessions named in a path are created

    agents: Annotated[tuple[str, ...], NoDecode] = ("personal",)  # the agent types one can switch to
    message_max: int = Field(default=65_536, ge=1_024)  # bytes of a message, an audio frame or a request's body
    connections_per_session: int = Field(default=16, ge=1)
    connections_per_user: int = Field(default=64, ge=1)
    sessions_per_user: int = Field(default=100, ge=1)  # that are open
    limit_period_s: float = Field(default=60.0, gt=0)  # of the limits below
    messages_per_session: int = Field(default=20, ge=1)
    messages_per_user: int = Field(default=60, ge=1)
    audio_s_per_session: float = Field(default=60.0, ge=2)
    audio_s_per_user: float = Field(default=180.0, ge=2)
    attempts_per_address: int = Field(default=30, ge=1)  # requests that were not authenticated
    trusted_proxies: str = "127.0.0.1"  # whose X-Forwarded-For is believed: addresses with commas between, or *
    revocations_kept_s: int = Field(default=30 * 86_400, ge=60)  # longer than any token lasts
    # Mail that waits longer for a worker: new input is refused. Longer than a worker takes to be replaced.
    budget_stt_s: float = Field(default=15.0, gt=0)
    budget_agent_s: float = Field(default=15.0, gt=0)
    budget_tts_s: float = Field(default=15.0, gt=0)
    ping_interval_s: float = Field(default=30.0, gt=0)
    queue_max: int = Field(default=1_024, ge=16)  # items that wait for a slow client before it reads from the log
    request_s: float = Field(default=20.0, gt=0)  # a request with its body that takes longer to come is given up
    stalled_s: float = Field(default=60.0, gt=0)  # who takes nothing of what it is sent for so long is cut off
    wait_s: float = Field(default=30.0, gt=0)  # how long POST …/message?wait=true waits

    @property
    def revocations_remembered_s(self) -> int:
        """How long a revocation is remembered: longer than any token that was issued before it is taken."""
        return math.ceil(self.revocations_kept_s + 2 * self.jwt_leeway_s)

    def secrets(self) -> tuple[str, str]:
        """What HS256 tokens may be signed with; '' is none."""
        return self.jwt_secret.get_secret_value(), self.jwt_secret_previous.get_secret_value()

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of this origin may connect; `*` allows all."""
        return "*" in self.cors_origins or origin in self.cors_origins

    @field_validator("cors_origins", "jwt_algorithms", "agents", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
