"""What the Redis servers say of themselves."""

import asyncio
from collections.abc import Mapping

from voicebus.bus.calls import Calls
from voicebus.bus.servers import Servers

RedisInfo = Mapping[str, str]


async def read_info(calls: Calls, servers: Servers, publish: str, *, stem: str) -> dict[str, RedisInfo]:
    """INFO's fields, by the name of each server that has slots.

    Raises:
        BusUnavailable: one gave no answer within the deadline.
    """
    # By a script, since a command without a key goes to any server.

    async def ask(key: bytes) -> RedisInfo:
        (text,) = await calls.script("info", (key.decode(),), publish, "")
        return _fields(text)

    keys = {server.name: servers.channel_at(server, stem) for server in servers.all}  # before any of them goes
    told = await asyncio.gather(*map(ask, keys.values()))
    return dict(zip(keys, told, strict=True))


def _fields(raw: bytes) -> RedisInfo:
    lines = raw.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
