"""Tokens for a stack of one's own."""

from datetime import timedelta

from pydantic import SecretStr

from gateway.auth import issue_token
from gateway.settings import GatewaySettings

TWELVE_HOURS = timedelta(hours=12)


def make_token(secret: str, sub: str, *, lasts: timedelta = TWELVE_HOURS) -> str:
    """A token for the user `sub`, signed with the stack's secret."""
    return issue_token(GatewaySettings(jwt_secret=SecretStr(secret)), sub, lasts)
