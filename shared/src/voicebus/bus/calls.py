"""The one way to Redis: every call goes to the server of its slot, in order.

Each server has a lane of its own; one Redis is the case of one server with one slot.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from voicebus.bus.lane import Addressee, Call, Lane, Part, PartKeys
from voicebus.bus.scripts import ScriptName, sha
from voicebus.bus.server import Server
from voicebus.bus.servers import Servers
from voicebus.bus.wire import Arg, pack, pack_some

_MOST_WAITING = 20_000  # for one server


class Calls:
    """Collects calls and sends them. `run` must be running."""

    def __init__(self, servers: Servers, *, deadline_s: float) -> None:
        self._servers = servers
        self._deadline_s = deadline_s
        self._lanes = {server: Lane(server, servers, self._landed) for server in servers.all}
        # All calls of a slot are in one lane: the one here as long as some of them are in flight there, though the
        # slot has moved; else its server's.
        self._detours: dict[int, Lane] = {}
        self._tasks: dict[Server, asyncio.Task[None]] = {}
        self._owner: asyncio.TaskGroup | None = None
        self._closed = False
        servers.follow(self._redirect)

    async def script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> Any:
        """Runs a script. Its reply's strings are bytes. Raises as `command` does."""
        return await self.start_script(name, keys, *args)

    async def command(self, *command: Arg) -> Any:
        """Runs a command that is safe to repeat. On a cluster one without a key is run by any server.

        Raises:
            BusUnavailable: no answer within the deadline; it may or may not have been applied.
            BusFull: Redis is at its memory limit, or can't write to its disk; it was not applied.
        """
        return await self.start(*command)

    def start_script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> asyncio.Future[Any]:
        """As `script`, without waiting: scripts of a session started one after the other run in this order."""
        return self.start("EVALSHA", sha(name), len(keys), *keys, *args)

    def start(self, *command: Arg) -> asyncio.Future[Any]:
        """As `command`, without waiting: whoever does not wait for the reply any more leaves it alone.

        Raises:
            UnicodeEncodeError: an argument has lone surrogates.
        """
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._add(Call(pack(*command), self._servers.slot(command), loop.time() + self._deadline_s, future))
        return future

    def start_part(
        self, name: ScriptName, head: tuple[Arg, ...], keys: PartKeys, arguments: Sequence[Arg]
    ) -> asyncio.Future[Any]:
        """As `start_script`, for a script that takes the keys and arguments of several behind the same head.

        It replies with a list, of which the future gets its own. Raises as `start` does.
        """
        future = asyncio.get_running_loop().create_future()
        self.send_part(future, name, head, keys, arguments)
        return future

    def send_part(
        self, to: Addressee, name: ScriptName, head: tuple[Arg, ...], keys: PartKeys, arguments: Sequence[Arg]
    ) -> None:
        """As `start_part`; the reply goes to this one."""
        command = pack_some(*arguments)
        until = asyncio.get_running_loop().time() + self._deadline_s
        slot = self._servers.slot_of(keys.names[0])
        self._add(Part(command, slot, until, to, name, head, keys.packed, len(keys.names), len(arguments)))

    async def run(self) -> None:
        """Sends what was collected, until cancelled; then what still waits fails."""
        try:
            async with asyncio.TaskGroup() as owner:
                self._owner = owner
                for lane in self._lanes.values():
                    self._run(lane)
        finally:
            self._closed, self._owner = True, None
            for lane in self._lanes.values():
                for call in lane.take():
                    call.fail("The bus was closed.")

    def _add(self, call: Call) -> None:
        lane = self._lane(call.slot)
        if self._closed or lane.waiting >= _MOST_WAITING:
            call.fail("The bus is closed." if self._closed else "Too many calls wait for Redis.")
        else:
            lane.add(call)

    def _lane(self, slot: int) -> Lane:
        return self._detours[slot] if slot in self._detours else self._lanes[self._servers.at(slot)]

    def _run(self, lane: Lane) -> None:
        if self._owner is not None:
            self._tasks[lane.server] = self._owner.create_task(lane.run())

    def _redirect(self) -> None:
        """Slots have moved: what waits for them goes to their new servers, behind what is in flight."""
        for server in self._servers.all:
            if server not in self._lanes:
                self._lanes[server] = Lane(server, self._servers, self._landed)
                self._run(self._lanes[server])
        lanes = tuple(self._lanes.values())
        self._detours = {
            slot: lane for lane in lanes for slot in lane.slots_in_flight if self._servers.at(slot) != lane.server
        }
        for lane in lanes:
            if lane.server not in self._servers.all:
                lane.give_up()
            self._distribute(lane)

    def _landed(self, lane: Lane) -> None:
        if self._detours:
            self._detours = {slot: other for slot, other in self._detours.items() if other is not lane}
            self._distribute(lane)

    def _distribute(self, lane: Lane) -> None:
        """Hands the lane's calls on to where they belong; ends one that nothing needs any more."""
        for call in lane.take():
            self._lane(call.slot).add(call)
        if lane.server not in self._servers.all and not lane.waiting and not lane.slots_in_flight:
            del self._lanes[lane.server]
            if (task := self._tasks.pop(lane.server, None)) is not None:
                task.cancel()
