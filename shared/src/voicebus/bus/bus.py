"""Opens the bus: one connection to write and one to listen per server, and the tasks that own them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from voicebus.bus.backlog import Backlog, read_backlog
from voicebus.bus.calls import Calls
from voicebus.bus.dead_letters import DeadLetters
from voicebus.bus.inbox import Inbox
from voicebus.bus.limits import Limits
from voicebus.bus.log import Log
from voicebus.bus.presence import Presence
from voicebus.bus.redis_info import RedisInfo, read_info
from voicebus.bus.revocations import Revocations
from voicebus.bus.servers import Servers, find_servers
from voicebus.bus.sessions import Sessions
from voicebus.bus.settings import BusSettings
from voicebus.bus.stages import Stages
from voicebus.bus.subscriptions import Subscriptions
from voicebus.contract.errors import VoicebusError
from voicebus.contract.keys import Keys, Stage


@dataclass(frozen=True)
class Bus:
    """Everything that a service does with Redis."""

    settings: BusSettings
    keys: Keys
    servers: Servers
    calls: Calls
    subscriptions: Subscriptions
    sessions: Sessions
    inbox: Inbox
    log: Log
    dead_letters: DeadLetters
    limits: Limits
    revocations: Revocations
    presence: Presence
    publish: str

    def stages(self, stage: Stage, worker: str) -> Stages:
        """The stage as this worker sees it."""
        return Stages(self.calls, self.keys, self.settings, self.publish, stage=stage, worker=worker)

    async def ping(self) -> None:
        """Returns if Redis serves data, even if it takes no writes for want of room: who sends some is told so.

        Raises:
            BusUnavailable: it doesn't. A cluster's servers may answer before the cluster has found together again.
        """
        await self.calls.command("EXISTS", self.keys.deadlines(0))

    async def backlog(self) -> dict[Stage, Backlog]:
        """What waits for workers.

        Raises:
            BusUnavailable: no answer within the deadline.
        """
        return await read_backlog(self.calls, self.keys, self.publish)

    async def redis_info(self) -> dict[str, RedisInfo]:
        """INFO's fields, by server. Raises as `backlog` does."""
        return await read_info(self.calls, self.servers, self.publish, stem=f"{self.keys.prefix}:info")


@asynccontextmanager
async def open_bus(settings: BusSettings) -> AsyncIterator[Bus]:
    """The bus, connected and with its layout checked.

    Raises:
        BusUnavailable: Redis does not answer within the deadline.
        VoicebusError: the data was laid out for another number of partitions.
    """
    keys = Keys(settings.prefix, settings.partitions)
    servers = await find_servers(settings.redis_url, deadline_s=settings.deadline_s)
    publish = servers.publish
    calls = Calls(servers, deadline_s=settings.deadline_s)
    subscriptions = Subscriptions(servers, calls, prefix=settings.prefix)
    bus = Bus(
        settings=settings,
        keys=keys,
        servers=servers,
        calls=calls,
        subscriptions=subscriptions,
        sessions=Sessions(calls, keys, settings, publish),
        inbox=Inbox(calls, keys, settings, publish),
        log=Log(calls, keys, publish),
        dead_letters=DeadLetters(calls, keys, settings, publish),
        limits=Limits(calls, keys, publish),
        revocations=Revocations(calls, keys, publish),
        presence=Presence(calls, keys, publish),
        publish=publish,
    )
    async with asyncio.TaskGroup() as owners:
        running = [owners.create_task(loop) for loop in (servers.run(), calls.run(), subscriptions.run())]
        try:
            unusable = await _unusable(calls, keys)
            if unusable is None:
                yield bus
        finally:
            for task in running:
                task.cancel()
    if unusable is not None:
        raise unusable


async def _unusable(calls: Calls, keys: Keys) -> VoicebusError | None:
    """Why this Redis can't be used, if it can't."""
    try:
        noted = await calls.command("GET", keys.layout)
        if noted is None:  # only then is there room needed
            await calls.command("SET", keys.layout, keys.partitions, "NX")
            noted = await calls.command("GET", keys.layout)
        found = int(noted)
    except VoicebusError as error:
        return error
    if found == keys.partitions:
        return None
    text = f"Redis holds data for {found} partitions, but this process is configured for {keys.partitions}."
    return VoicebusError("internal", text)
