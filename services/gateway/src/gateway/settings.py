"""The gateway's settings; the only place where it reads the environment."""

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
    connections_per_session: int = Field(default=16, ge=1)  # on this gateway
    sessions_per_user: int = Field(default=100, ge=1)
    ping_interval_s: float = Field(default=30.0, gt=0)
    queue_max: int = Field(default=1_024, ge=16)  # items that wait for a slow client before it reads from the log
    wait_s: float = Field(default=30.0, gt=0)  # how long POST …/message?wait=true waits

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
