"""Who is calling: JSON Web Tokens. Algorithms, keys, audience and issuer are the configuration's choice."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, get_args

from jose import jwk, jwt
from jose.backends.base import Key
from jose.exceptions import ExpiredSignatureError, JOSEError

from gateway.jwks import KeySet
from gateway.settings import GatewaySettings
from voicebus.contract.errors import Refused

Scope = Literal["sessions:read", "sessions:write", "admin"]
SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
DEVELOPER = "developer"
SUBPROTOCOL = "voicebus.v1"
_BEARER = "bearer."
_TOKEN_MAX = 16_384  # characters
_KID_MAX = 256
_USUAL: frozenset[Scope] = frozenset({"sessions:read", "sessions:write"})  # of a token without `scope`


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user; `expires_at` is None only for the developer without a token."""

    sub: str
    expires_at: datetime | None
    scopes: frozenset[Scope] = _USUAL
    issued_s: int | None = None  # since 1970
    login: str | None = None  # the issuer's session (`sid`)

    def require(self, scope: Scope) -> None:
        """Goes on only for who may do that.

        Raises:
            Refused: `scope_missing`.
        """
        if scope not in self.scopes:
            raise Refused("scope_missing", f"The token lacks the scope {scope}.")


class Authenticator:
    """Checks tokens against the configuration: HS256 by the secrets, RS256 and ES256 by the issuer's `keys`."""

    def __init__(self, settings: GatewaySettings, keys: KeySet | None) -> None:
        self._secrets = [jwk.construct(secret, "HS256") for secret in settings.secrets() if secret]
        self._keys = keys
        self._algorithms = settings.jwt_algorithms
        self._audience = settings.jwt_audience
        self._issuer = settings.jwt_issuer
        self._leeway_s = settings.jwt_leeway_s
        self._lasts_most_s = settings.revocations_kept_s
        self._dev_mode = settings.dev_mode
        self._options = {
            **dict.fromkeys(("require_exp", "require_sub", "require_aud", "require_iss"), True),
            "leeway": self._leeway_s,
        }

    async def caller(self, token: str | None) -> Caller:
        """The caller that the token stands for.

        Raises:
            Refused: `token_missing`, `token_expired`, `token_invalid` or `keys_unavailable`.
        """
        if not token:
            if self._dev_mode:
                return Caller(DEVELOPER, None, SCOPES)
            raise Refused("token_missing")
        if len(token) > _TOKEN_MAX:
            raise Refused("token_invalid", f"The token has more than {_TOKEN_MAX} characters.")
        try:
            caller = _caller(self._claims(token, *await self._keys_of(token)))
        except ExpiredSignatureError as error:
            raise Refused("token_expired") from error
        except (JOSEError, ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError) as error:
            raise Refused("token_invalid") from error
        if caller.issued_s is not None and caller.issued_s > time.time() + self._leeway_s:
            raise Refused("token_invalid", "The token was issued in the future.")
        if _lasts_s(caller) > self._lasts_most_s:
            raise Refused("token_invalid", f"The token lasts longer than {self._lasts_most_s} s (REVOCATIONS_KEPT_S).")
        return caller

    async def _keys_of(self, token: str) -> tuple[str, Sequence[Key | Mapping[str, Any]]]:
        """The algorithm that the token names, which must be one of ours, and the keys of that algorithm's kind."""
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise Refused("token_invalid", "The token's algorithm is not accepted.")
        if "crit" in header:
            raise Refused("token_invalid", "The token asks for an extension that is not known here.")
        if kid is not None and (not isinstance(kid, str) or len(kid) > _KID_MAX):
            raise Refused("token_invalid", "The token's key id is not usable.")
        if algorithm == "HS256":
            return algorithm, self._secrets
        return algorithm, await self._keys.candidates(algorithm, kid) if self._keys else ()

    def _claims(self, token: str, algorithm: str, keys: Sequence[Key | Mapping[str, Any]]) -> Mapping[str, Any]:
        error: JOSEError | None = None
        for key in keys:
            try:
                return jwt.decode(
                    token,
                    key,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    options=self._options,
                )
            except ExpiredSignatureError:
                raise
            except JOSEError as refused:
                error = refused
        raise error or Refused("token_invalid", "There is no key to verify the token with.")


def _caller(claims: Mapping[str, Any]) -> Caller:
    sub = claims["sub"]
    if not isinstance(sub, str) or not 0 < len(sub) <= 256:
        raise Refused("token_invalid", "The token's subject must have 1 to 256 characters.")
    if any("\ud800" <= character <= "\udfff" for character in sub):  # can't be written as UTF-8
        raise Refused("token_invalid", "The token's subject holds half a character.")
    issued, login = claims.get("iat"), claims.get("sid")
    if login is not None and (not isinstance(login, str) or len(login) > 256):
        raise Refused("token_invalid", "The token's sid is not usable.")
    expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
    return Caller(sub, expires_at, _scopes(claims.get("scope")), None if issued is None else int(issued), login)


def _lasts_s(caller: Caller) -> float:
    """How long the token lasts in all; from now on, where it doesn't say since when, or is ahead of the time."""
    if caller.expires_at is None:
        return 0.0
    began_s = math.inf if caller.issued_s is None else caller.issued_s
    began_s = min(began_s, time.time())
    return caller.expires_at.timestamp() - began_s


def _scopes(claim: object) -> frozenset[Scope]:
    """As in RFC 8693: names with spaces between; some issuers write a list."""
    if claim is None:
        return _USUAL
    names = claim.split() if isinstance(claim, str) else claim
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused("token_invalid", "The token's scope is not a text.")
    return frozenset(scope for scope in SCOPES if scope in names)


def issue_token(settings: GatewaySettings, sub: str, lasts: timedelta, scopes: Sequence[Scope] = ()) -> str:
    """A token for this user, signed with our secret; for development, and for systems without an issuer."""
    now = datetime.now(UTC)
    claims = {"sub": sub, "aud": settings.jwt_audience, "iss": settings.jwt_issuer, "iat": now, "exp": now + lasts}
    if scopes:
        claims["scope"] = " ".join(scopes)
    return str(jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256"))


def bearer(authorization: str | None) -> str | None:
    """The token in an `Authorization` header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def from_subprotocols(offered: list[str]) -> str | None:
    """The token that a browser sends as a subprotocol: `["voicebus.v1", "bearer.<jwt>"]`."""
    return next((name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)), None)
