"""The command line's settings; the only place where the client reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway is, and the token for it (None: the gateway runs in development mode)."""

    url: str
    token: str | None


def read_settings(url: str | None, token: str | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """What the command line says, else `VOICEBUS_URL` and `VOICEBUS_TOKEN`."""
    return Settings(
        url=url or environ.get("VOICEBUS_URL") or "http://127.0.0.1:8000",
        token=token or environ.get("VOICEBUS_TOKEN") or None,
    )
