"""`token`: signs a token with the gateway's secret, for development."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from voicebus_client.cli.settings import Settings

_LASTS = re.compile(r"([0-9]{1,9})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=3_660)


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `12h` or `30d`.

    Raises:
        ValueError: it is none of these, nothing, or more than ten years.
    """
    match = _LASTS.fullmatch(text)
    lasts = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if not timedelta() < lasts <= _LONGEST:
        raise ValueError(f"not a duration like 90s, 15m, 12h or 30d: {text!r}")
    return lasts


def read_secret(settings: Settings, file: Path | None) -> str:
    """The secret in the file, without the end of its line, or the environment's.

    Raises:
        ValueError: there is none.
        OSError: the file can't be read.
    """
    secret = file.read_text().rstrip("\r\n") if file else settings.secret
    if not secret:
        raise ValueError(
            f"{file} is empty" if file else "no secret: set JWT_SECRET as the gateway has it, or --secret-file"
        )
    return secret


def sign(settings: Settings, secret: str, sub: str, lasts: timedelta, scopes: list[str]) -> str:
    """A token that the gateway with this secret takes: JWT, HS256."""
    from jose import jwt  # noqa: PLC0415 - takes longer to load than all else, and only this needs it

    now = datetime.now(UTC)
    claims = {"sub": sub, "aud": settings.audience, "iss": settings.issuer, "iat": now, "exp": now + lasts}
    if scopes:
        claims["scope"] = " ".join(scopes)
    return str(jwt.encode(claims, secret, algorithm="HS256"))
