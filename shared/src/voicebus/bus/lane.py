"""The way to one server: calls of the same tick go out as one pipeline, and only one is in flight.

Neighbours that a script takes together travel as one call of it.

Every write of the bus is idempotent, so a pipeline that got no answer is sent again, in order, until its calls'
deadlines. The driver itself must not retry: it repeats and reorders.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol, Self

from voicebus.bus import metrics
from voicebus.bus.link import Link
from voicebus.bus.scripts import SCRIPTS, ScriptName, sha, source
from voicebus.bus.server import Server
from voicebus.bus.servers import Servers
from voicebus.bus.wire import Arg, Reply, ReplyError, WireLost, pack, pack_some
from voicebus.contract.errors import BusFull, BusUnavailable, VoicebusError

LOAD_SCRIPTS = [pack("SCRIPT", "LOAD", source(name)) for name in SCRIPTS]
_MOST = 512  # calls in one pipeline
_MOST_TOGETHER = 64  # writes in one call of a script: nobody else is served meanwhile
_PAUSES_S = (0.02, 0.1, 0.25, 0.5)
_ASKED_S = 1.0  # a server that takes longer for a slot that it is being given is left alone until later
_PASSING = {
    *("NOSCRIPT", "LOADING", "READONLY", "NOREPLICAS", "BUSY"),
    *("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN"),
}
_FULL = {"OOM", "MISCONF"}  # no room in memory, or on the disk that it writes its file to
_PASSING_TOGETHER = (_PASSING - {"TRYAGAIN"}) | _FULL  # what a call is told alone, too
_ELSEWHERE = {"MOVED", "READONLY", "CLUSTERDOWN", "MASTERDOWN"}  # another server may serve the slot by now


class Addressee(Protocol):
    """Whom a reply goes to: a future, or who is told at once and returns at once."""

    def done(self) -> bool:
        """Whether it has one, or doesn't want one any more."""

    def set_result(self, result: Any, /) -> None:
        """The reply."""

    def set_exception(self, exception: VoicebusError, /) -> None:
        """There is none."""


@dataclass(slots=True, eq=False)
class Call:
    """A command and whom its reply goes to."""

    command: bytes  # packed
    slot: int
    until: float  # loop time
    addressee: Addressee = field(repr=False)

    def settle(self, reply: Reply) -> None:
        """Hands the reply on, or the error that it is."""
        if self.addressee.done():
            return
        if isinstance(reply, ReplyError):
            error = _translated(reply)
            metrics.calls_failed.labels(error.code).inc()
            self.addressee.set_exception(error)
        else:
            self.addressee.set_result(reply)

    def fail(self, reason: str) -> None:
        """There is no reply and won't be one."""
        if not self.addressee.done():
            error = BusUnavailable(reason)
            metrics.calls_failed.labels(error.code).inc()
            self.addressee.set_exception(error)


@dataclass(frozen=True, slots=True)
class PartKeys:
    """The keys of a script's calls, packed once for many."""

    names: tuple[str, ...]
    packed: bytes

    @classmethod
    def of(cls, *names: str) -> Self:
        """Packs them."""
        return cls(names, pack_some(*names))


@dataclass(slots=True, eq=False)
class Part(Call):
    """A call of a script that takes several such at once: `command` holds its arguments behind the `head`."""

    script: ScriptName
    head: tuple[Arg, ...]  # the same for all that go together
    keys: bytes  # packed
    key_count: int
    argument_count: int
    alone: bool = False  # it failed together with others: one of them is to blame


def _translated(error: ReplyError) -> VoicebusError:
    """Redis's error as one of the contract's tree."""
    if error.kind in _FULL:
        return BusFull()
    return VoicebusError("internal", f"Redis: {error}")


def _passes(reply: Reply) -> bool:
    """Whether the same call may succeed in a moment."""
    return isinstance(reply, ReplyError) and reply.kind in _PASSING


class Lane:
    """The calls for one server. `landed` is called when a pipeline is back and none is in flight."""

    def __init__(self, server: Server, servers: Servers, landed: Callable[["Lane"], None]) -> None:
        self.server = server
        self._servers = servers
        self._landed = landed
        self._link = Link(server.pool)
        self._waiting: list[Call] = []
        self._flying: list[Call] = []
        self._some = asyncio.Event()
        self._put_off: set[int] = set()  # slots whose calls wait until `_resume_at`, loop time
        self._all_put_off = False
        self._resume_at = 0.0
        self._tries = 0

    @property
    def waiting(self) -> int:
        """How many calls are not sent, or sent in vain."""
        return len(self._waiting)

    @property
    def slots_in_flight(self) -> set[int]:
        """The slots of the calls that are sent and not answered."""
        return {call.slot for call in self._flying}

    def add(self, call: Call) -> None:
        """Sends the call behind those that were added before."""
        self._waiting.append(call)
        self._some.set()

    def take(self) -> list[Call]:
        """Gives away what is not in flight, in order."""
        calls, self._waiting = self._waiting, []
        return calls

    def give_up(self) -> None:
        """The server has nothing to serve any more: what it has not answered is to be sent elsewhere."""
        self._link.give_up()

    async def run(self) -> None:
        """Sends what was added, until cancelled; then what is in flight fails."""
        try:
            while True:
                self._flying = await self._next()
                reason = await self._send(self._flying)
                again = [call for call in self._flying if not call.addressee.done()] if reason else []
                self._flying = []
                if again:
                    metrics.calls_repeated.inc(len(again))
                    self._waiting[:0] = again
                    self._pause(again, reason)
                elif not self._put_off:
                    self._tries = 0
                self._landed(self)
        finally:
            self._link.close()
            for call in self._flying:
                call.fail("The bus was closed.")

    async def _next(self) -> list[Call]:
        """The next calls to send: of each slot the first ones. A slot that is put off does not hold up the others."""
        while True:
            while not self._waiting:
                self._some.clear()
                await self._some.wait()
            if not self._put_off or asyncio.get_running_loop().time() >= self._resume_at:
                self._put_off, self._all_put_off = set(), False
                batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                return batch
            if not self._all_put_off:
                batch = [call for call in self._waiting if call.slot not in self._put_off][:_MOST]
                if batch:
                    sent = set(map(id, batch))
                    self._waiting = [call for call in self._waiting if id(call) not in sent]
                    return batch
            self._some.clear()
            try:
                async with asyncio.timeout_at(self._resume_at):
                    await self._some.wait()
            except TimeoutError:
                pass

    def _pause(self, again: list[Call], reason: str) -> None:
        """Puts the slots of these calls off for a moment, and gives up those calls whose time is over."""
        time = asyncio.get_running_loop().time()
        if not self._put_off:
            self._resume_at = time + _PAUSES_S[min(self._tries, len(_PAUSES_S) - 1)]
            self._tries += 1
        self._put_off |= {call.slot for call in again}
        for call in self._waiting:
            if call.until <= time:
                call.fail(reason)
        self._waiting = [call for call in self._waiting if not call.addressee.done()]

    async def _send(self, batch: list[Call]) -> str:
        """Sends the calls and settles those that were answered; returns why the others were not, '' if all were."""
        try:
            metrics.calls_sent.inc(len(batch))
            began = perf_counter()
            letters = _letters(batch)
            replies = await self._link.exchange([_packed(letter) for letter in letters])
            metrics.round_trip_seconds.observe(perf_counter() - began)
            if _unknown_script(replies):
                await self._link.exchange(LOAD_SCRIPTS)
        except WireLost as error:
            self._all_put_off = True
            self._servers.doubt(self.server, answers=False)
            return f"Redis: {error}"
        asks: dict[str, list[Call]] = {}
        apart: list[Call] = []
        reason = ""
        for letter, reply in zip(letters, replies, strict=True):
            if _settle(letter, reply):
                continue
            if not _passes(reply):
                apart += letter
                continue
            reason = "Redis puts calls off."
            if reply.kind == "ASK":
                asks.setdefault(str(reply).split()[-1], []).extend(letter)
            elif reply.kind in _ELSEWHERE:
                self._servers.doubt(self.server, answers=True)
        for name, calls in asks.items():
            await self._send_asking(self._servers.named(name), calls)
        return (apart and await self._send(apart)) or reason

    async def _send_asking(self, server: Server, batch: list[Call]) -> None:
        """Sends calls to the server that their slot is being moved to; settles those that it answers."""
        link = Link(server.pool)
        letters = _letters(batch)
        commands = [command for letter in letters for command in (pack("ASKING"), _packed(letter))]
        try:
            async with asyncio.timeout(_ASKED_S):
                replies = (await link.exchange(commands))[1::2]
                if _unknown_script(replies):
                    await link.exchange(LOAD_SCRIPTS)
        except (WireLost, TimeoutError):
            return
        finally:
            link.close()
        for letter, reply in zip(letters, replies, strict=True):
            _settle(letter, reply)


def _letters(batch: Sequence[Call]) -> list[list[Call]]:
    """The calls in their order, those together that can travel together."""
    letters: list[list[Call]] = []
    last: Call | None = None
    for call in batch:
        if last is not None and len(letters[-1]) < _MOST_TOGETHER and _fit(last, call):
            letters[-1].append(call)
        else:
            letters.append([call])
        last = call
    return letters


def _fit(one: Call, other: Call) -> bool:
    if not isinstance(one, Part) or not isinstance(other, Part) or one.alone or other.alone:
        return False
    return one.script == other.script and one.head == other.head and one.slot == other.slot


def _packed(letter: Sequence[Call]) -> bytes:
    first = letter[0]
    if not isinstance(first, Part):
        return first.command
    parts = [call for call in letter if isinstance(call, Part)]
    keys = sum(part.key_count for part in parts)
    arguments = sum(part.argument_count for part in parts)
    return b"".join(
        (
            b"*%d\r\n" % (3 + keys + len(first.head) + arguments),
            pack_some("EVALSHA", sha(first.script), keys),
            *(part.keys for part in parts),
            pack_some(*first.head),
            *(part.command for part in parts),
        )
    )


def _settle(letter: Sequence[Call], reply: Reply) -> bool:
    """Hands the reply on; False if the same calls are to be made again, where several failed together each alone."""
    if isinstance(reply, ReplyError):
        if len(letter) > 1 and reply.kind not in _PASSING_TOGETHER:
            for call in letter:
                if isinstance(call, Part):
                    call.alone = True
            return False
        if _passes(reply):
            return False
        for call in letter:
            call.settle(reply)
    elif isinstance(letter[0], Part):
        for call, each in zip(letter, reply, strict=True):
            call.settle(each)
    else:
        letter[0].settle(reply)
    return True


def _unknown_script(replies: Sequence[Reply]) -> bool:
    return any(isinstance(reply, ReplyError) and reply.kind == "NOSCRIPT" for reply in replies)
