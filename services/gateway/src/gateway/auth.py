"""Who is calling: JSON Web Tokens. Algorithms, audience and issuer are the configuration's choice."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from jose import jwt
from jose.exceptions import ExpiredSignatureError, JOSEError

from gateway.settings import GatewaySettings
from voicebus.contract.errors import Refused

DEVELOPER = "developer"
SUBPROTOCOL = "voicebus.v1"
_BEARER = "bearer."


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user; `expires_at` is None only for the developer without a token."""

    sub: str
    expires_at: datetime | None


class Authenticator:
    """Checks tokens against the configuration."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._key = settings.jwt_secret.get_secret_value()
        self._algorithms = list(settings.jwt_algorithms)
        self._audience = settings.jwt_audience
        self._issuer = settings.jwt_issuer
        self._dev_mode = settings.dev_mode

    def caller(self, token: str | None) -> Caller:
        """The caller that the token stands for.

        Raises:
            Refused: `token_missing`, `token_expired` or `token_invalid`.
        """
        if not token:
            if self._dev_mode:
                return Caller(DEVELOPER, None)
            raise Refused("token_missing")
        if not self._key:
            raise Refused("token_invalid", "No key is configured, so no token is valid.")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=self._algorithms,
                audience=self._audience,
                issuer=self._issuer,
                options={"require_exp": True, "require_sub": True, "require_aud": True, "require_iss": True},
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
        except ExpiredSignatureError as error:
            raise Refused("token_expired") from error
        except (JOSEError, ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError) as error:
            raise Refused("token_invalid") from error
        sub = claims["sub"]
        if not isinstance(sub, str) or not 0 < len(sub) <= 256:
            raise Refused("token_invalid", "The token's subject must have 1 to 256 characters.")
        if any("\ud800" <= character <= "\udfff" for character in sub):  # can't be written as UTF-8
            raise Refused("token_invalid", "The token's subject holds half a character.")
        return Caller(sub, expires_at)


def issue_token(settings: GatewaySettings, sub: str, lasts: timedelta) -> str:
    """A token for this user, signed as the configuration says; for development, and for systems without an issuer."""
    claims = {"sub": sub, "aud": settings.jwt_audience, "iss": settings.jwt_issuer, "exp": datetime.now(UTC) + lasts}
    return str(jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm=settings.jwt_algorithms[0]))


def bearer(authorization: str | None) -> str | None:
    """The token in an `Authorization` header."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def from_subprotocols(offered: list[str]) -> str | None:
    """The token that a browser sends as a subprotocol: `["voicebus.v1", "bearer.<jwt>"]`."""
    return next((name.removeprefix(_BEARER) for name in offered if name.startswith(_BEARER)), None)
