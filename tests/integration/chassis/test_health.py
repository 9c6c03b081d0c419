"""`/livez`, `/readyz` and `/metrics` of a worker."""

import httpx2
import pytest

from voicebus.chassis.health import Check, health_server
from voicebus.contract.errors import BusUnavailable


async def fine() -> None:
    pass


async def broken() -> None:
    raise BusUnavailable("Redis: gone")


@pytest.mark.parametrize(("check", "status", "state"), [(fine, 200, "ok"), (broken, 503, "Redis: gone")])
async def test_ready_says_which_part_is_not_and_why(check: Check, status: int, state: str) -> None:
    async with (
        health_server({"redis": check}, host="127.0.0.1", port=0) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]) == (status, {"redis": state})
        assert "voicebus_sessions_held" in (await client.get("/metrics")).text
