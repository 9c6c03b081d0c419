"""Tokens that are void before they expire: all that a user, or one login, had been issued up to some moment."""

from collections.abc import Mapping
from typing import Literal

from voicebus.bus.calls import Calls
from voicebus.contract.keys import Keys

Kind = Literal["user", "login"]


class Revocations:
    """Kept in Redis; every gateway hears of each at once, on `keys.revocations`."""

    def __init__(self, calls: Calls, keys: Keys, publish: str) -> None:
        self._calls = calls
        self._keys = keys
        self._publish = publish

    async def revoke(self, kind: Kind, name: str, *, keep_s: int) -> int:
        """Makes the tokens of a user (`sub`) or a login (`sid`) void; returns up to when issued, in seconds since 1970.

        It is kept for `keep_s` seconds, which must be longer than any token lasts.
        """
        field, channel = f"{kind}|{name}", self._keys.revocations
        reply = await self._calls.script("revoke", (self._keys.revoked,), self._publish, "", field, keep_s, channel)
        return int(reply[1])

    async def restore(self, known: Mapping[str, int]) -> None:
        """What `all` once told, so that it tells it again."""
        flat = [each for name, at_s in known.items() for each in (at_s, name)]
        await self._calls.command("ZADD", self._keys.revoked, "GT", *flat)

    async def all(self) -> dict[str, int]:
        """`user|<sub>` and `login|<sid>`, and of what time tokens are void."""
        flat = await self._calls.command("ZRANGE", self._keys.revoked, 0, -1, "WITHSCORES")
        return {name.decode(): int(at_s) for name, at_s in zip(flat[::2], flat[1::2], strict=True)}


def revocation_of(payload: bytes) -> tuple[str, int]:
    """What is published: the field and the time."""
    field, _, at_s = payload.rpartition(b"|")
    return field.decode(), int(at_s)
