"""`/livez`, `/readyz` and `/metrics`: of a worker also while its event loop hangs."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx2
import pytest
import redis
from support.processes import SECRET

from voicebus.bus.settings import BusSettings
from voicebus.chassis.health import Check, health_server
from voicebus.contract.errors import BusUnavailable
from voicebus_stack.ports import free_port
from voicebus_stack.ready import wait_until_ready
from voicebus_stack.redis_server import running_redis

HANGS_S = 4.0
PROBE_S = 1.0  # a platform's time-out
HANGING = Path(__file__).with_name("hanging.py")


async def fine() -> None:
    pass


async def broken() -> None:
    raise BusUnavailable("Redis: gone")


async def silent() -> None:
    await asyncio.sleep(60)


@asynccontextmanager
async def served(**checks: Check) -> AsyncIterator[httpx2.AsyncClient]:
    async with (
        health_server(checks, host="127.0.0.1", port=0, hang_s=0.5) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("check", "status", "state"),
    [(fine, 200, "ok"), (broken, 503, "Redis: gone"), (silent, 503, "no answer within 2 s")],
)
async def test_ready_says_which_part_is_not_and_why(check: Check, status: int, state: str) -> None:
    async with served(redis=check, worker=fine) as client:
        assert (await client.get("/livez")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]) == (status, {"redis": state, "worker": "ok"})
        assert "voicebus_sessions_held" in (await client.get("/metrics")).text


async def test_a_loop_that_hangs_is_not_alive_and_one_that_goes_on_is() -> None:
    async with served(worker=fine) as client:
        port = client.base_url.port
        answers = dict[str, tuple[int, str]]()

        def probe() -> None:
            with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as other:
                for path in ("/livez", "/readyz", "/metrics"):
                    answer = other.get(path)
                    answers[path] = answer.status_code, answer.text

        thread = threading.Timer(1.0, probe)
        thread.start()
        time.sleep(5)  # noqa: ASYNC251 - that is the hang
        thread.join()
        assert answers["/livez"][0] == 503
        assert answers["/livez"][1].startswith("the event loop has not run for 1.")
        assert answers["/readyz"][0] == 503
        assert "event_loop" in answers["/readyz"][1]
        assert answers["/metrics"][0] == 200
        await asyncio.sleep(0.3)  # a beat
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


@contextmanager
def hanging(module: str, port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(HANGING), module, str(HANGS_S)]
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        wait_until_ready([port], timeout_s=60)
        yield process
    finally:
        process.kill()
        process.wait(10)


def probe(port: int, path: str) -> int | None:
    """The status; None if there is no answer in a probe's time."""
    try:
        return httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=PROBE_S).status_code
    except httpx2.TimeoutException:
        return None


def seen(port: int, path: str, *wanted: int | None, within_s: float = 10.0) -> bool:
    """Whether a probe comes to be answered so in time."""
    until = time.monotonic() + within_s
    while probe(port, path) not in wanted:
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def of(bus: BusSettings) -> dict[str, str]:
    return {"REDIS_URL": bus.redis_url, "REDIS_PREFIX": bus.prefix, "PARTITIONS": str(bus.partitions)}


def test_a_worker_says_that_it_hangs_and_recovers(bus_settings: BusSettings) -> None:
    port = free_port()
    settings = of(bus_settings) | {"HEALTH_PORT": str(port), "HANG_S": "1", "TTS_ENGINE": "instant"}
    with hanging("tts_worker", port, **settings) as process:
        assert probe(port, "/livez") == 200
        process.send_signal(signal.SIGUSR1)
        assert seen(port, "/livez", 503)
        assert seen(port, "/livez", 200)
        assert seen(port, "/readyz", 200)


def test_a_gateway_that_hangs_does_not_answer_and_recovers(bus_settings: BusSettings) -> None:
    port = free_port()
    with hanging("gateway", port, **of(bus_settings), API_PORT=str(port), JWT_SECRET=SECRET) as process:
        assert probe(port, "/livez") == 200
        process.send_signal(signal.SIGUSR1)
        assert seen(port, "/livez", None)
        assert seen(port, "/livez", 200)


@pytest.mark.parametrize("module", ["gateway", "tts_worker"])
def test_a_process_that_hangs_too_long_says_where_and_ends(
    bus_settings: BusSettings, module: str, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    settings = of(bus_settings) | {"EXIT_WHEN_HUNG_S": "2.5", "API_PORT": str(port), "HEALTH_PORT": str(port)}
    with hanging(module, port, **settings, JWT_SECRET=SECRET, TTS_ENGINE="instant") as process:
        time.sleep(3)  # longer than it may hang: it does not, and lives
        assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.wait(HANGS_S) == 1  # before the hang is over
    assert "hanging.py" in capfd.readouterr().err


def test_worker_and_gateway_are_not_ready_without_redis_but_alive(tmp_path: Path) -> None:
    ports = free_port(), free_port()
    with running_redis(tmp_path) as url:
        common = {"REDIS_URL": url, "PARTITIONS": "4"}
        with (
            hanging("tts_worker", ports[0], **common, HEALTH_PORT=str(ports[0]), TTS_ENGINE="instant"),
            hanging("gateway", ports[1], **common, API_PORT=str(ports[1]), JWT_SECRET=SECRET),
        ):
            with redis.Redis.from_url(url) as client:
                client.shutdown(nosave=True)
            for port in ports:
                assert seen(port, "/readyz", 503, None)
                assert httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 503
                assert httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=10).status_code == 200
