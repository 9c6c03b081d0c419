"""Settings that all services share. A service adds its own in its `settings.py`; nobody else reads the environment."""

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from voicebus.bus.settings import BusSettings


class SecretFiles(PydanticBaseSettingsSource):
    """Secrets in files, as containers are given them: `JWT_SECRET_FILE` names the one that holds `JWT_SECRET`.

    Raises:
        SettingsError: a file can't be read.
    """

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The file's text without the white space around it; None without a file, or with an empty one."""
        variable = f"{field_name}_file".upper()
        path = os.environ.get(variable)
        if field.annotation is not SecretStr or not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip() or None, field_name, False
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{variable}: {error}") from error

    def __call__(self) -> dict[str, Any]:
        """What the files say."""
        fields = self.settings_cls.model_fields.items()
        values = {name: self.get_field_value(field, name)[0] for name, field in fields}
        return {name: value for name, value in values.items() if value is not None}


class ServiceSettings(BaseSettings):
    """Read from environment variables of the same names in capitals; secrets also from files that `…_FILE` names."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    redis_url: str = "redis://localhost:6379/0"
    redis_password: SecretStr = SecretStr("")  # for a redis_url that has none
    redis_prefix: str = "vb"
    partitions: int = Field(default=64, ge=1, le=4_096)  # fixed at first start
    log_max: int = Field(default=10_000, ge=100)  # events kept in a session's log, about
    ended_kept_s: float = Field(default=86_400.0, ge=1)  # how long an ended session stays readable
    history_turns: int = Field(default=50, ge=1)  # of a conversation that the model sees
    attempts_max: int = Field(default=3, ge=1)  # at one mail
    lease_s: float = Field(default=9.0, ge=0.3)  # without renewal another worker takes over
    drain_s: float = Field(default=20.0, ge=0)  # how long SIGTERM waits for what is under way
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65_535)  # /livez, /readyz, /metrics of a worker; 0: any free one
    hang_s: float = Field(default=15.0, gt=0)  # /livez of a worker fails when its event loop has not run for so long
    exit_when_hung_s: float = Field(default=0.0, ge=0)  # a process that hangs so long ends itself; 0: never

    def bus(self) -> BusSettings:
        """What the bus wants to know."""
        return BusSettings(
            redis_url=_with_password(self.redis_url, self.redis_password.get_secret_value()),
            prefix=self.redis_prefix,
            partitions=self.partitions,
            log_max=self.log_max,
            ended_kept_ms=int(self.ended_kept_s * 1000),
            history_turns=self.history_turns,
            attempts_max=self.attempts_max,
            lease_ms=int(self.lease_s * 1000),
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment goes before the files that it names."""
        return init_settings, env_settings, SecretFiles(settings_cls), dotenv_settings, file_secret_settings


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    if not password or "@" in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=f":{quote(password, safe='')}@{parts.netloc}"))
