"""Tokens for a stack of one's own."""

from datetime import UTC, datetime, timedelta

from jose import jwt

AUDIENCE = "voicebus"
ISSUER = "voicebus"


def make_token(secret: str, sub: str, *, lasts: timedelta = timedelta(hours=12)) -> str:
    """A token for the user `sub`, signed with the stack's secret."""
    claims = {"sub": sub, "aud": AUDIENCE, "iss": ISSUER, "exp": datetime.now(UTC) + lasts}
    return str(jwt.encode(claims, secret, algorithm="HS256"))
