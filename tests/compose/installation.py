"""An installation of docker-compose.yml, under a project name of its own."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from docker.models.containers import Container

from voicebus_stack.ports import free_port

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
FRONT = {"gateway-lb", "prometheus", "grafana"}  # what publishes ports
STAGES = ("stt-worker", "agent-worker", "tts-worker")
PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"


def compose_command() -> list[str]:
    """Compose v2 where it is installed, else docker-compose; [] where there is none."""
    version = ["docker", "compose", "version"]
    if shutil.which("docker") and subprocess.run(version, capture_output=True, check=False).returncode == 0:
        return version[:2]
    return ["docker-compose"] if shutil.which("docker-compose") else []


def engine() -> docker.DockerClient:
    """The engine that `DOCKER_HOST` names, or this machine's own; the test is skipped where none answers."""
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        if where.startswith("unix://"):  # first by a socket that is closed: the library leaves its own to the collector
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(where.removeprefix("unix://"))
        client = docker.from_env(timeout=120)
        client.ping()
    except (OSError, docker.errors.DockerException) as error:
        pytest.skip(f"no Docker engine answers at {where}: {error}")
    if not compose_command():
        pytest.skip("neither `docker compose` nor `docker-compose` is installed")
    return client


def eventually(check: Callable[[], object], timeout_s: float, what: str) -> None:
    """Returns once the check gives something true.

    Raises:
        AssertionError: it did not in time; says what.
    """
    until = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < until, f"{what}: not after {timeout_s:.0f} s"
        time.sleep(0.25)


class Installation:
    """What the tests do to it. Its ports are free ones of the loopback address."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.docker = client
        self.project = f"voicebus-test-{secrets.token_hex(4)}"
        self._ports = {name: str(free_port()) for name in ("API_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")}
        # What a developer has in .env is not for the tests.
        blank = ("JWT_SECRET", "JWT_SECRET_PREVIOUS", "REDIS_PASSWORD", "GRAFANA_PASSWORD", "AGENT_MODEL", "JWT_JWKS")
        own = {"COMPOSE_PROJECT_NAME": self.project, "API_ADDRESS": "127.0.0.1", **self._ports}
        eager = dict.fromkeys(("MESSAGES_PER_SESSION", "MESSAGES_PER_USER"), "100000")
        self._environment = os.environ | dict.fromkeys(blank, "") | own | eager
        self._command = compose_command()
        self.url = f"http://127.0.0.1:{self._ports['API_PORT']}"
        self.services = self._startable()

    def _startable(self) -> list[str]:
        """All services that stay, but no Grafana where its image can't be had."""
        services: dict[str, dict[str, Any]] = yaml.safe_load(FILE.read_text())["services"]
        names = set(services) - {"secrets"}
        try:
            self.docker.images.get(services["grafana"]["image"])
        except docker.errors.ImageNotFound:
            names.discard("grafana")
        return sorted(names)

    def compose(self, *arguments: str, timeout_s: float = 300) -> str:
        """Runs a command of compose; returns all that it printed.

        Raises:
            AssertionError: it failed; says what it printed.
            subprocess.TimeoutExpired: it took too long.
        """
        done = subprocess.run(
            [*self._command, *arguments], cwd=ROOT, env=self._environment, timeout=timeout_s, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-4_000:]
        return done.stdout

    def build(self) -> None:
        """Builds every image; what the environment says of a package index is told to the builds."""
        index = os.environ.get("PIP_INDEX_URL")
        self.compose(
            "build", *(["--build-arg", f"PIP_INDEX_URL={index}"] if index else []),
            *(set(self.services) - {"grafana"}), "secrets", timeout_s=1_500,
        )  # fmt: skip

    def up(self, **scale: int) -> None:
        """Starts what is missing, `gateway=2` of a service (`_` for `-`), and returns when all are healthy."""
        scales = [f"--scale={name.replace('_', '-')}={count}" for name, count in scale.items()]
        self.compose("up", "-d", "--no-recreate", *scales, *self.services)
        self.wait_healthy()

    def containers(self, service: str | None = None) -> list[Container]:
        """Those of a service, or all, in the order of their names."""
        labels = [f"{PROJECT}={self.project}", *([f"{_SERVICE}={service}"] if service else [])]
        found: list[Container] = self.docker.containers.list(all=True, filters={"label": labels})
        return sorted(found, key=lambda container: str(container.name))

    def one(self, service: str) -> Container:
        """The only container of a service."""
        (container,) = self.containers(service)
        return container

    def wait_healthy(self, timeout_s: float = 120) -> None:
        """Returns when all that stay are healthy."""
        eventually(lambda: not self.unhealthy(), timeout_s, f"healthy ({self.unhealthy()})")

    def unhealthy(self) -> dict[str, str]:
        """Which containers are not healthy, and how they are."""
        found = {
            container.name: health(container) for container in self.containers() if service(container) != "secrets"
        }
        return {name: state for name, state in found.items() if state != "healthy"}

    def inside(self, container: Container, *command: str) -> str:
        """What a command in the container prints.

        Raises:
            AssertionError: it failed.
        """
        code, output = container.exec_run(list(command))
        assert code == 0, output
        return str(output.decode())

    def token(self, sub: str = "me") -> str:
        """As the load balancer's log says how to get one."""
        return self.compose("exec", "-T", "gateway", "python", "-m", "gateway.token", sub).strip().splitlines()[-1]

    def targets(self) -> dict[str, list[str]]:
        """How Prometheus finds its targets, by job."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._ports['PROMETHEUS_PORT']}/api/v1/targets", timeout=5
        ) as answer:
            found: dict[str, list[str]] = {}
            for target in json.load(answer)["data"]["activeTargets"]:
                found.setdefault(target["labels"]["job"], []).append(target["health"])
        return found

    def down(self) -> None:
        """Stops and removes all, with volumes and images."""
        self.compose("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "30")

    def left(self) -> list[str]:
        """What is still there."""
        label = {"label": f"{PROJECT}={self.project}"}
        volumes, networks = self.docker.volumes.list(filters=label), self.docker.networks.list(filters=label)
        return [str(each.name) for each in (*self.containers(), *volumes, *networks)]


def service(container: Container) -> str:
    """Of which service it is."""
    return str(container.labels[_SERVICE])


def health(container: Container) -> str:
    """`healthy`, `starting`, `unhealthy`, or in what state it is if it doesn't run."""
    container.reload()
    state = container.attrs["State"]
    if state["Status"] != "running":
        return str(state["Status"])
    return str(state.get("Health", {}).get("Status", "without a check"))


def status_of(url: str, **headers: str) -> int:
    """What a GET is answered with; 0 if nobody answers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@contextmanager
def installation() -> Iterator[Installation]:
    """Built, up and healthy; nothing is left of it afterwards."""
    running = Installation(engine())
    try:
        running.build()
        running.up()
        yield running
    except BaseException:
        print(running.compose("logs", "--no-color", "--tail=40"))
        raise
    finally:
        running.down()
