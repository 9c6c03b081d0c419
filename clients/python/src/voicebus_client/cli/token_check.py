"""What `doctor` says of the token."""

import binascii
import time
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx2
import orjson

from voicebus_client.cli.findings import Finding, good, warning, wrong
from voicebus_client.errors import VoicebusError, error_from_response
from voicebus_client.tokens import Tokens

_SOON_S = 600
_ADVICE = {
    "token_missing": "Pass --token or VOICEBUS_TOKEN; `voicebus token` makes one.",
    "token_expired": "Make a new one: `voicebus token`.",
    "token_invalid": "It must be signed with the gateway's JWT_SECRET, for its JWT_AUDIENCE and JWT_ISSUER, and last "
    "no longer than its REVOCATIONS_KEPT_S.",
    "token_revoked": "Make a new one: `voicebus token`.",
    "scope_missing": "It needs the scopes sessions:read and sessions:write: `voicebus token --scope …`.",
    "keys_unavailable": "Can the gateway reach what JWT_JWKS names?",
    "too_many_attempts": "Wait a minute: too many requests from here had no good token.",
}


async def token_findings(http: httpx2.AsyncClient, token: str | None) -> AsyncIterator[Finding]:
    """Whether the gateway takes it, whose it is, and for how long."""
    try:
        answer = await http.get("/ai/sessions", params={"limit": "1"}, headers=await Tokens(token).headers())
    except httpx2.TransportError as error:
        yield wrong("token", f"no answer to it: {error!r}", "Look at the gateway's log.")
        return
    if not answer.is_success:
        yield _refused(error_from_response(answer.status_code, answer.content))
    elif token is None:
        yield good("token", "none is needed: the gateway is in development mode")
    else:
        yield good("token", f"accepted: {_whose(claims_of(token))}")
        if expiring := _expiry(claims_of(token)):
            yield expiring


def claims_of(token: str) -> Mapping[str, Any]:
    """What the token says, unverified; nothing if it can't be read."""
    payload = token.split(".")[1] if token.count(".") == 2 else ""
    try:
        claims = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _refused(error: VoicebusError) -> Finding:
    return wrong("token", f"{error.code}: {error}", _ADVICE.get(error.code, "Look at the gateway's log."))


def _whose(claims: Mapping[str, Any]) -> str:
    return f"{claims.get('sub')}, for {claims.get('scope') or 'sessions:read sessions:write'}"


def _expiry(claims: Mapping[str, Any]) -> Finding | None:
    expires_s = claims.get("exp")
    if not isinstance(expires_s, int | float):
        return None
    left_s = expires_s - time.time()
    text = f"expires {datetime.fromtimestamp(expires_s, UTC):%Y-%m-%d %H:%M} UTC, in {_duration(left_s)}"
    return good("", text) if left_s > _SOON_S else warning("", text, "Make a new one soon: `voicebus token`.")


def _duration(seconds: float) -> str:
    minutes, days = round(seconds / 60), seconds / 86_400
    return f"{days:.0f} days" if days >= 2 else f"{minutes // 60} h {minutes % 60:02} min"
