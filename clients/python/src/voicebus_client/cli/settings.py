"""The command line's settings; the only place where the client reads the environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway is, the token for it (None: the gateway runs in development mode), and what signs new ones."""

    url: str
    token: str | None
    secret: str | None = None
    audience: str = "voicebus"
    issuer: str = "voicebus"


def read_settings(url: str | None, token: str | None, environ: Mapping[str, str] = os.environ) -> Settings:
    """What the command line says, else `VOICEBUS_URL` and `VOICEBUS_TOKEN`; the rest as the gateway reads it."""
    return Settings(
        url=url or environ.get("VOICEBUS_URL") or "http://127.0.0.1:8000",
        token=(token or environ.get("VOICEBUS_TOKEN") or "").strip() or None,  # a terminal may have added `\r`
        secret=environ.get("JWT_SECRET") or None,
        audience=environ.get("JWT_AUDIENCE") or "voicebus",
        issuer=environ.get("JWT_ISSUER") or "voicebus",
    )
