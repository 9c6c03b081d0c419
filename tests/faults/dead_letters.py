"""`voicebus dead-letters …`, as an administrator calls it."""

import asyncio
import os
import sys
from datetime import timedelta

import orjson
from faults.gateways import Gateways
from support.processes import SECRET

from voicebus.contract.keys import Stage
from voicebus_client.cli.settings import Settings
from voicebus_client.cli.token import sign


async def command(gateways: Gateways, *arguments: str) -> tuple[int, str]:
    """Its exit status, and what it prints."""
    url = f"http://127.0.0.1:{gateways.ports[0]}"
    token = sign(Settings(url, None), SECRET, "operator", timedelta(hours=1), ["admin"])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voicebus_client", "--url", url, "dead-letters", *arguments),
        env=os.environ | {"VOICEBUS_TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def letters(gateways: Gateways, *stages: Stage) -> dict[str, str]:
    """The ids of the stages' (or all) dead letters by session."""
    which = [option for stage in stages for option in ("--stage", stage)]
    status, output = await command(gateways, "list", "--json", *which)
    assert status == 0, output
    found = [orjson.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {letter["session_id"]: letter["id"] for letter in found}
