"""Limits that hold across gateways: so many names at a time, so much audio. Each is one script on one key."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from voicebus.bus.calls import Calls
from voicebus.contract.errors import Refused
from voicebus.contract.keys import Keys

Counted = Literal["messages", "sessions"]
_USAGE_KEPT_S = 400 * 86_400


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so many (names, or ms of audio) in so many milliseconds; beyond it requests get this code."""

    most: int
    period_ms: int
    code: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a user took in one month (UTC)."""

    sub: str
    messages: int = 0
    sessions: int = 0
    audio_ms: int = 0


class Limits:
    """Counts on the bus. Whoever repeats a call with the same name pays once."""

    def __init__(self, calls: Calls, keys: Keys, publish: str) -> None:
        self._calls = calls
        self._keys = keys
        self._publish = publish
        self._known: set[tuple[str, str]] = set()  # months and users that the set of users holds

    async def count(
        self, key: str, name: str, limit: Limit, *, renewed: bool = False, user: str = "", counted: Counted = "messages"
    ) -> int:
        """Counts the name under the key for the limit's period; returns how many count there now, 0 if it did already.

        For a `user` it is added to the usage. `renewed`: if the name counts already its time begins anew.

        Raises:
            Refused: with the limit's code, and when to come again.
        """
        keys = (key, *await self._usage_of(user)) if user else (key,)
        reply = await self._calls.script(
            *("count", keys, self._publish, ""),
            *(name, limit.most, limit.period_ms, "renewed" if renewed else "", counted, _USAGE_KEPT_S),
        )
        return _within(reply, limit)

    async def uncount(self, key: str, *names: str) -> None:
        """The names don't count any more."""
        await self._calls.command("ZREM", key, *names)

    async def names(self, key: str) -> list[str]:
        """The names that count under the key, and perhaps some that have just ceased to."""
        return [name.decode() for name in await self._calls.command("ZRANGE", key, 0, -1)]

    async def charge(
        self, key: str, session_id: str, stream: str, from_ms: int, to_ms: int, limit: Limit, *, user: str = ""
    ) -> int:
        """Takes this part of a stream out of the allowance under the key; returns how many ms of audio are left.

        Raises:
            Refused: with the limit's code, and when there is enough.
        """
        keys = (key, *await self._usage_of(user)) if user else (key,)
        reply = await self._calls.script(
            *("charge", keys, self._publish, ""),
            *(session_id, stream, from_ms, to_ms, limit.most, limit.period_ms, "audio_ms", _USAGE_KEPT_S),
        )
        return _within(reply, limit)

    async def usage(self, sub: str, month: str) -> Usage:
        """What the user took in the month (`2026-11`)."""
        flat = await self._calls.command("HGETALL", self._keys.user(sub).usage(month))
        fields = {name.decode(): int(value) for name, value in zip(flat[::2], flat[1::2], strict=True)}
        return Usage(sub, fields.get("messages", 0), fields.get("sessions", 0), fields.get("audio_ms", 0))

    async def all_usage(self, month: str) -> AsyncIterator[Usage]:
        """What each user took in the month, in no order; who comes while it is read may be missing."""
        cursor, users = "0", self._keys.users(month)
        seen = set[bytes]()
        while True:
            following, subs = await self._calls.command("SSCAN", users, cursor, "COUNT", 100)
            fresh = [sub for sub in subs if sub not in seen]
            seen.update(fresh)
            for usage in await asyncio.gather(*(self.usage(sub.decode(), month) for sub in fresh)):
                yield usage
            if (cursor := following.decode()) == "0":
                return

    async def _usage_of(self, user: str) -> tuple[str]:
        month = month_of(datetime.now(UTC))
        if (month, user) not in self._known:
            users = self._keys.users(month)
            await asyncio.gather(
                self._calls.start("SADD", users, user), self._calls.start("EXPIRE", users, _USAGE_KEPT_S)
            )
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known.add((month, user))
        return (self._keys.user(user).usage(month),)


def month_of(time: datetime) -> str:
    """As usage is kept: `2026-11`."""
    return time.strftime("%Y-%m")


def _within(reply: Any, limit: Limit) -> int:
    word, value = reply
    if word == b"limit":
        raise Refused(limit.code, retry_after_ms=max(1, value))
    return int(value)
