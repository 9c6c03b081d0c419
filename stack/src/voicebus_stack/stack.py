"""The processes of a whole installation on one machine, and what each is started with."""

import os
import shlex
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from voicebus_stack.ports import free_port
from voicebus_stack.redis_server import redis_command

Engines = Literal["default", "instant"]
_SOCKET_PATH_BYTES = 104  # on macOS; Linux has four more
_INSTANT = {"STT_ENGINE": "instant", "STT_VAD": "loudness", "AGENT_MODEL": "instant", "TTS_ENGINE": "instant"}


@dataclass(frozen=True)
class Service:
    """A process of the stack."""

    name: str
    command: list[str]
    environment: dict[str, str]
    health_port: int | None = None

    def shell(self, log: Path | None = None) -> str:
        """The command as a shell reads it; with `log`, its output is appended to that file."""
        output = f" >> {shlex.quote(str(log))} 2>&1" if log else ""
        return f"exec {shlex.join(self.command)}{output}"


@dataclass(frozen=True)
class Stack:
    """Redis, the gateways, one worker of each stage, and the toolbox, all on loopback."""

    folder: Path  # holds Redis's data
    port: int  # of the first gateway
    secret: str = field(repr=False)  # that tokens are signed with
    engines: Engines = "default"
    mcp_config: Path | None = None
    gateways: int = 1
    dev_mode: bool = False
    redis_port: int = field(default_factory=free_port)
    toolbox_port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def redis_socket(self) -> str:
        """Where the services reach Redis: a Unix socket costs less than TCP."""
        name = f"voicebus-{self.redis_port}.sock"
        path = f"{tempfile.gettempdir()}/{name}"
        return path if len(os.fsencode(path)) < _SOCKET_PATH_BYTES else f"/tmp/{name}"  # noqa: S108 - free_port makes it ours

    def services(self) -> list[Service]:
        """The processes, in the order of their start: what takes longest to get ready comes first."""
        command = redis_command(self.redis_port, self.folder, "--unixsocket", self.redis_socket)
        redis = Service("redis", command, dict(os.environ))
        ports = [self.port, *(free_port() for _ in range(self.gateways - 1))]
        gateways = [self._gateway(i, port) for i, port in enumerate(ports)]
        toolbox = [] if self.mcp_config else [self._toolbox()]
        return [redis, self._worker("agent"), *toolbox, *gateways, self._worker("stt"), self._worker("tts")]

    def _gateway(self, number: int, port: int) -> Service:
        environment = self._environment() | {
            "API_HOST": "127.0.0.1",
            "API_PORT": str(port),
            "JWT_SECRET": self.secret,
            "DEV_MODE": str(self.dev_mode).lower(),
            "CORS_ORIGINS": f"http://localhost:3000,http://localhost:{port},http://127.0.0.1:{port}",
        }
        name = "gateway" if number == 0 else f"gateway-{number + 1}"
        return Service(name, [sys.executable, "-m", "gateway"], environment, port)

    def _toolbox(self) -> Service:
        command = [sys.executable, "-m", "agent_worker.toolbox", "--http", str(self.toolbox_port)]
        return Service("toolbox", command, self._environment())

    def _worker(self, stage: str) -> Service:
        port = free_port()
        environment = self._environment() | {"HEALTH_PORT": str(port)}
        if self.engines == "instant":
            environment |= _INSTANT
        if self.mcp_config is None:
            environment["TOOLBOX_URL"] = f"http://127.0.0.1:{self.toolbox_port}/mcp"
        else:
            environment["MCP_CONFIG"] = str(self.mcp_config.resolve())
        return Service(stage, [sys.executable, "-m", f"{stage}_worker"], environment, port)

    def _environment(self) -> dict[str, str]:
        return dict(os.environ) | {
            "REDIS_URL": f"unix://{self.redis_socket}",
            "LOG_FORMAT": os.environ.get("LOG_FORMAT", "console"),
            "DRAIN_S": "0.5",  # nobody takes over
            "PYTHONUNBUFFERED": "1",
        }
