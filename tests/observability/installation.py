"""Two gateways, a worker of each stage and the toolbox on a Redis of their own, as `make run` starts them."""

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from support.processes import RunningGateway

from voicebus_stack.ports import free_port
from voicebus_stack.ready import wait_until_ready
from voicebus_stack.redis_server import wait_for_port
from voicebus_stack.stack import Service, Stack
from voicebus_stack.tokens import make_token


@dataclass(frozen=True)
class Installation:
    """What runs."""

    gateways: list[RunningGateway]
    token: str
    ports: dict[str, list[int]]  # where each service has its metrics

    @property
    def bearer(self) -> dict[str, str]:
        """The header of its user."""
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def running_installation(folder: Path) -> Iterator[Installation]:
    """Ready, with a memory limit as in production; all processes stop at the end. Their logs are in the folder."""
    stack = Stack(folder=folder, port=free_port(), secret=secrets.token_urlsafe(32), gateways=2)
    with ExitStack() as running:
        processes: dict[str, subprocess.Popen[bytes]] = {}
        services = stack.services()
        for service in services:
            processes[service.name] = _start(running, service, folder)
            if service.name == "redis":
                wait_for_port(stack.redis_port)
        with redis.Redis(port=stack.redis_port) as client:
            client.config_set("maxmemory", "256mb")
        health = {service.name: service.health_port for service in services if service.health_port}
        wait_until_ready(list(health.values()), timeout_s=60)
        gateways = {name: port for name, port in health.items() if name.startswith("gateway")}
        try:
            yield Installation(
                gateways=[RunningGateway(port, processes[name]) for name, port in gateways.items()],
                token=make_token(stack.secret, "alice"),
                ports={"gateway": list(gateways.values())}
                | {f"{stage}-worker": [health[stage]] for stage in ("stt", "agent", "tts")},
            )
        finally:
            for name, process in processes.items():
                if name != "redis":  # the toolbox waits for the agent worker to go
                    process.terminate()


def _start(running: ExitStack, service: Service, folder: Path) -> subprocess.Popen[bytes]:
    with (folder / f"{service.name}.log").open("wb") as log:
        process = subprocess.Popen(service.command, env=service.environment, stdout=log, stderr=log)
    running.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)
        raise
