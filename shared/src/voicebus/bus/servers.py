"""Which server serves what: the one Redis, the primary behind sentinels, or a cluster's primaries, each with its slots.

What the directory told is believed until a server's answer or silence contradicts it; then it is asked again.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import suppress

import structlog

from voicebus.bus.directory import Directory, find_directory
from voicebus.bus.server import Server, sibling
from voicebus.bus.slots import slot_of_command, slot_of_key
from voicebus.bus.wire import Arg, WireLost
from voicebus.contract.errors import BusUnavailable

_log = structlog.get_logger(__name__)
_BETWEEN_S = 0.05  # two questions
_AGAIN_S = 0.25  # until the next one, where nobody knew


class Servers:
    """The servers that take commands, and the slots of each. `run` must be running."""

    def __init__(self, directory: Directory, owners: Sequence[Server]) -> None:
        self._directory = directory
        self._owners = tuple(owners)  # by slot; where there is no cluster the only one
        self._all = tuple(dict.fromkeys(owners))
        self.sharded = directory.sharded  # whether channels belong to slots, as keys do
        self._followers: list[Callable[[], None]] = []
        self._doubtful = asyncio.Event()
        self._suspects: dict[Server, bool] = {}  # and whether they answer

    @property
    def publish(self) -> str:
        """The command that publishes: `SPUBLISH` where channels belong to slots, else `PUBLISH`."""
        return "SPUBLISH" if self.sharded else "PUBLISH"

    @property
    def all(self) -> tuple[Server, ...]:
        """Every server that has slots."""
        return self._all

    def slot(self, command: tuple[Arg, ...]) -> int:
        """The slot that the command is for; without a cluster there is one."""
        return slot_of_command(command) if self._directory.clustered else 0

    def slot_of(self, key: str) -> int:
        """The slot of the key; without a cluster there is one."""
        return slot_of_key(key.encode()) if self._directory.clustered else 0

    def at(self, slot: int) -> Server:
        """Who serves the slot."""
        return self._owners[slot]

    def of_channel(self, channel: bytes) -> Server:
        """Where what is published on the channel by the scripts of its slot is heard first."""
        return self._owners[slot_of_key(channel) if self._directory.clustered else 0]

    def channel_at(self, server: Server, stem: str) -> bytes:
        """A channel that begins with the stem and belongs to this server.

        Raises:
            LookupError: it has no slots.
        """
        if server not in self._all:
            raise LookupError(server.name)
        names = (f"{stem}:{{{number}}}".encode() for number in itertools.count())
        return next(name for name in names if self.of_channel(name) == server)

    def named(self, name: str) -> Server:
        """The server of the cluster with this host and port."""
        host, _, port = name.rpartition(":")
        return sibling(self._owners[0].url, host, int(port))

    def follow(self, follower: Callable[[], None]) -> None:
        """Has it called whenever slots have moved; it must return at once."""
        self._followers.append(follower)

    def doubt(self, server: Server, *, answers: bool) -> None:
        """This server was believed to serve something and says that it doesn't, or says nothing at all."""
        self._suspects[server] = answers
        self._doubtful.set()

    async def run(self) -> None:
        """Asks again when there is doubt, or as often as the directory wants, until it is cancelled."""
        unknown = ""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._directory.asked_every_s):
                    await self._doubtful.wait()
            self._doubtful.clear()
            suspects, self._suspects = self._suspects, {}
            try:
                self._believe(await self._directory.owners(self._owners, suspects))
                if unknown:
                    _log.info("servers_known", after=unknown)
                unknown = ""
                await asyncio.sleep(_BETWEEN_S)
            except WireLost as error:
                if not unknown:
                    _log.warning("servers_unknown", reason=str(error))
                unknown = str(error)
                self._suspects = suspects | self._suspects
                self._doubtful.set()
                await asyncio.sleep(_AGAIN_S)

    def _believe(self, owners: tuple[Server, ...]) -> None:
        if owners == self._owners:
            return
        moved = sum(old is not new for old, new in zip(self._owners, owners, strict=True))
        self._owners, self._all = owners, tuple(dict.fromkeys(owners))
        _log.info("slots_moved", slots=moved, servers=[server.name for server in self.all])
        for follower in self._followers:
            follower()


async def find_servers(url: str, *, deadline_s: float) -> Servers:
    """Asks whom the URL names, in turn, until one tells.

    `redis://host:port`, of a cluster any server, or several with commas between; also `rediss://` and `unix://`.
    `redis+sentinel://host:port,…/service/database` names sentinels; also `rediss+sentinel://`.

    Raises:
        BusUnavailable: none did within the deadline.
    """
    reason = ""
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                try:
                    directory = await find_directory(url)
                    return Servers(directory, await directory.owners((), {}))
                except WireLost as error:
                    reason = str(error)
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BusUnavailable(f"Redis: {reason or 'no answer'}") from None
