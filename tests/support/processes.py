"""Services as processes of their own, as they run in production."""

import asyncio
import os
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from voicebus.bus.settings import BusSettings
from voicebus_stack.ready import wait_until_ready
from voicebus_stack.redis_server import free_port
from voicebus_stack.tokens import make_token

SECRET = "a-secret-of-the-tests"


@dataclass(frozen=True)
class RunningGateway:
    """A gateway process."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """For REST."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """For WebSockets."""
        return f"ws://127.0.0.1:{self.port}"


@contextmanager
def service(module: str, port: int, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m module`, ready; stopped at the end."""
    process = subprocess.Popen([sys.executable, "-m", module], env=os.environ | environment)
    try:
        wait_until_ready([port], timeout_s=30)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


@asynccontextmanager
async def worker_process(module: str, bus: BusSettings, **environment: str) -> AsyncIterator[Process]:
    """`python -m module` on the test's own keys, as soon as it runs; its log is JSON in `stderr`. Killed at the end."""
    variables = {
        "REDIS_URL": bus.redis_url,
        "REDIS_PREFIX": bus.prefix,
        "PARTITIONS": str(bus.partitions),
        "LEASE_S": str(bus.lease_ms / 1000),
        "LOG_FORMAT": "json",
        **environment,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env=os.environ | variables, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@contextmanager
def gateway_process(redis_url: str, prefix: str, **environment: str) -> Iterator[RunningGateway]:
    """A gateway on a free port."""
    port = free_port()
    variables = {
        "REDIS_URL": redis_url,
        "REDIS_PREFIX": prefix,
        "PARTITIONS": "4",
        "API_PORT": str(port),
        "JWT_SECRET": SECRET,
        "AGENTS": "personal,family",
        "DRAIN_S": "1",
        **environment,
    }
    with service("gateway", port, **variables) as process:
        yield RunningGateway(port, process)


def bearer_of(sub: str) -> dict[str, str]:
    """The header with a token of this user."""
    return {"Authorization": f"Bearer {make_token(SECRET, sub)}"}
