"""How much one user, one session and one address may ask for: the configuration's numbers, counted on the bus."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog

from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus
from voicebus.bus.limits import Limit
from voicebus.contract.errors import Refused, VoicebusError
from voicebus.contract.payloads import ProblemData

_log = structlog.get_logger(__name__)
_NEAR: Final = 0.8  # of a limit, from where a client is warned
_ALIVE_MS: Final = 3_000  # after its last sign of life a gateway's connections don't count any more
_SIGN_EVERY_S: Final = 1.0
_RENEW_EVERY_S: Final = 1.0  # some of the connections
_RENEW_PARTS: Final = 60  # so each once a minute, and never all at once
_CONNECTION_MS: Final = 180_000  # a connection counts so long without being renewed
_OPENING_MS: Final = 10_000  # by then a session that was opened is in its owner's list


@dataclass(frozen=True, slots=True)
class Near:
    """The limit is near: what is left of it, in words."""

    text: str

    @property
    def problem(self) -> ProblemData:
        """What a `warning` event says of it."""
        return ProblemData(code="limit_near", message=self.text, temporary=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection as it is counted."""

    name: str
    near: Near | None = None  # the limit of connections


class Limits:
    """The limits of one gateway process. `run` must be running."""

    def __init__(self, bus: Bus, settings: GatewaySettings) -> None:
        self._bus = bus
        self._limits = bus.limits
        self._keys = bus.keys
        self._settings = settings
        self._name = uuid4().hex
        self._open: dict[str, tuple[str, str]] = {}  # names of connections, and where they count
        self._renewed = 0  # up to which turn, of one part of them each
        period = int(settings.limit_period_s * 1000)
        self._session_messages = Limit(settings.messages_per_session, period, "too_many_messages")
        self._user_messages = Limit(settings.messages_per_user, period, "too_many_messages")
        self._session_audio = Limit(int(settings.audio_s_per_session * 1000), period, "too_much_audio")
        self._user_audio = Limit(int(settings.audio_s_per_user * 1000), period, "too_much_audio")
        self._attempts = Limit(settings.attempts_per_address, period, "too_many_attempts")
        self._session_connections = Limit(settings.connections_per_session, _CONNECTION_MS, "too_many_connections")
        self._user_connections = Limit(settings.connections_per_user, _CONNECTION_MS, "too_many_connections")

    async def run(self) -> None:
        """Shows that this gateway lives, and renews what counts, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_again_and_again(self._show, _SIGN_EVERY_S))
            tasks.create_task(_again_and_again(self._renew, _RENEW_EVERY_S))

    async def message(self, session_id: str, sub: str, message_id: str | None) -> Near | None:
        """Counts a message of the user in the session; the same message counts once.

        Raises:
            Refused: `too_many_messages`.
        """
        name = message_id or uuid4().hex
        session, user = self._keys.of(session_id), self._keys.user(sub)
        in_session = await self._limits.count(session.messages, name, self._session_messages)
        of_user = await self._limits.count(user.messages, f"{session_id}|{name}", self._user_messages, user=sub)
        for limit, count in ((self._session_messages, in_session), (self._user_messages, of_user)):
            if count == _warned_at(limit):
                return Near(f"{count} of {limit.most} messages in {limit.period_ms // 1000} s were sent.")
        return None

    async def audio(self, session_id: str, sub: str, stream: str, from_ms: int, to_ms: int) -> Near | None:
        """Pays for a part of a stream; what was paid for before costs nothing.

        Raises:
            Refused: `too_much_audio`.
        """
        session, user = self._keys.of(session_id), self._keys.user(sub)
        part = (session_id, stream, from_ms, to_ms)
        in_session = await self._limits.charge(session.audio, *part, self._session_audio)
        of_user = await self._limits.charge(user.audio, *part, self._user_audio, user=sub)
        for limit, rest in ((self._session_audio, in_session), (self._user_audio, of_user)):
            if rest <= limit.most - _warned_at(limit) < rest + to_ms - from_ms:
                return Near(f"{rest // 1000} s of audio are left; they grow as time goes by.")
        return None

    async def session(self, sub: str, session_id: str) -> Near | None:
        """Makes sure that the user may open one more session, though others open theirs at this moment.

        Raises:
            Refused: `too_many_sessions`.
        """
        opening = self._keys.user(sub).opening
        just_opened = set(await self._limits.names(opening))
        mine = await self._bus.sessions.open_of(sub)
        most, others = self._settings.sessions_per_user, len(mine - just_opened)
        limit = Limit(most - others, _OPENING_MS, "too_many_sessions")
        count = others + await self._limits.count(opening, session_id, limit, user=sub, counted="sessions")
        return Near(f"{count} of {most} sessions are open.") if count > most * _NEAR else None

    async def connected(self, sub: str) -> int:
        """How many connections the user has."""
        return len(await self._limits.names(self._keys.user(sub).connections))

    async def attempt(self, address: str) -> None:
        """Counts a request that was not authenticated.

        Raises:
            Refused: `too_many_attempts`.
        """
        await self._limits.count(self._keys.attempts(_network(address)), uuid4().hex, self._attempts)

    @asynccontextmanager
    async def connection(self, session_id: str, sub: str) -> AsyncIterator[Near | None]:
        """A connection of the user to the session, while inside. Raises as `enter` does."""
        entry = await self.enter(session_id, sub)
        try:
            yield entry.near
        finally:
            await self.leave(entry)

    async def enter(self, session_id: str, sub: str) -> Entry:
        """A connection of the user to the session begins.

        Raises:
            Refused: `too_many_connections`.
        """
        name = f"{self._name}|{uuid4().hex}"
        places = (self._keys.of(session_id).connections, self._keys.user(sub).connections)
        limits = (self._session_connections, self._user_connections)
        self._open[name] = places
        try:
            counts = [await self._enter(place, name, limit) for place, limit in zip(places, limits, strict=True)]
        except BaseException:
            await self.leave(Entry(name))
            raise
        near = [(n, limit.most) for n, limit in zip(counts, limits, strict=True) if n > limit.most * _NEAR]
        return Entry(name, Near(f"{near[0][0]} of {near[0][1]} connections are open.") if near else None)

    async def leave(self, entry: Entry) -> None:
        """It has ended."""
        places = self._open.pop(entry.name)
        with suppress(VoicebusError):  # then they cease to count by themselves
            await asyncio.gather(*(self._limits.uncount(place, entry.name) for place in places))

    async def _enter(self, place: str, name: str, limit: Limit) -> int:
        """How many connections count there, with this one."""
        try:
            return await self._limits.count(place, name, limit)
        except Refused:
            names = await self._limits.names(place)
            gateways = sorted({each.partition("|")[0] for each in names} - {self._name})
            alive = await asyncio.gather(
                *(self._bus.calls.start("EXISTS", self._keys.gateway(gateway)) for gateway in gateways)
            )
            dead = {gateway for gateway, lives in zip(gateways, alive, strict=True) if not lives}
            stale = [each for each in names if each.partition("|")[0] in dead]
            if not stale:
                raise
            await self._limits.uncount(place, *stale)
            return await self._limits.count(place, name, limit)

    async def _show(self) -> None:
        await self._bus.calls.command("SET", self._keys.gateway(self._name), "1", "PX", _ALIVE_MS)

    async def _renew(self) -> None:
        """Those whose turn has come since the last time that it worked."""
        turn = int(asyncio.get_running_loop().time() / _RENEW_EVERY_S)
        parts = {each % _RENEW_PARTS for each in range(self._renewed + 1, turn + 1)[-_RENEW_PARTS:]}
        due = [(name, *places) for name, places in self._open.items() if hash(name) % _RENEW_PARTS in parts]
        in_sessions = [self._renew_one(session, name, self._session_connections) for name, session, _ in due]
        of_users = [self._renew_one(user, name, self._user_connections) for name, _, user in due]
        await asyncio.gather(*in_sessions, *of_users)
        self._renewed = turn

    async def _renew_one(self, place: str, name: str, limit: Limit) -> None:
        if name in self._open:  # it may have closed meanwhile
            with suppress(Refused):  # its place was given away while this gateway seemed dead
                await self._limits.count(place, name, limit, renewed=True)


async def _again_and_again(act: Callable[[], Awaitable[None]], every_s: float) -> None:
    while True:
        try:
            await act()
        except VoicebusError as error:
            _log.warning("bus_error", reason=error.message)
        await asyncio.sleep(every_s)


def _warned_at(limit: Limit) -> int:
    return max(1, int(limit.most * _NEAR))


def _network(address: str) -> str:
    """The address; of IPv6 the /64 that one customer usually has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)
    return str(parsed if parsed.version == 4 else parsed.ipv4_mapped)
