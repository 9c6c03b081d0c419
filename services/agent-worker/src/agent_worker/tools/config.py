"""Which MCP servers an agent worker uses: the `mcpServers` file that desktop assistants and editors share.

    {"mcpServers": {
      "notes":   {"command": "npx", "args": ["-y", "notes", "${HOME}/notes"], "env": {"KEY": "${KEY:-}"}},
      "weather": {"url": "https://weather.example/mcp", "headers": {"Authorization": "Bearer ${WEATHER_KEY}"},
                  "voicebus": {"timeout_s": 10, "tools": {"forecast": {"read_only": true}}}}}}

Keys that other programs put beside these are ignored; a key that is misspelt inside `voicebus` is an error.
"""

import json
import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError

_VARIABLE = re.compile(r"\$\{(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


class ConfigError(ValueError):
    """The file can't be used; the message names the file and the path of the wrong key."""


class ToolOptions(BaseModel):
    """What we know better than the server about one tool; None leaves it to the server's annotations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    timeout_s: PositiveFloat | None = None
    read_only: bool | None = None  # changes nothing: may be called again
    idempotent: bool | None = None  # a second identical call changes nothing more: may be called again
    approval: bool = False  # a client must approve each call


class ServerOptions(BaseModel):
    """The `voicebus` section of a server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_s: PositiveFloat | None = None  # of one tool call; None: the worker's default
    connect_timeout_s: PositiveFloat = 30.0
    tools: dict[str, ToolOptions] = {}  # by the server's own tool name; "*" applies to all that are not named


class _Server(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    voicebus: ServerOptions = ServerOptions()

    def options(self, tool: str) -> ToolOptions:
        """The options of one tool, by the server's own name for it."""
        tools = self.voicebus.tools
        return tools.get(tool) or tools.get("*") or ToolOptions()


class StdioServer(_Server):
    """A server that we start; it gets a minimal environment and `env`, nothing of the worker's own."""

    command: Annotated[str, Field(min_length=1)]
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: Path | None = None


class HttpServer(_Server):
    """A server behind streamable HTTP."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")]
    headers: dict[str, str] = {}


ServerConfig = StdioServer | HttpServer

_KINDS: dict[str, type[StdioServer] | type[HttpServer]] = {
    "stdio": StdioServer,
    "http": HttpServer,
    "streamable-http": HttpServer,
    "streamable_http": HttpServer,
    "streamablehttp": HttpServer,
}


def default_servers(environ: Mapping[str, str]) -> tuple[ServerConfig, ...]:
    """What is used without a file: our own toolbox, where `TOOLBOX_URL` says, else started with this interpreter."""
    if url := environ.get("TOOLBOX_URL"):
        return (_server("TOOLBOX_URL", Path(), "toolbox", {"url": url}, environ),)
    env = {name: value for name, value in environ.items() if name.startswith("TOOLBOX_") or name == "XDG_STATE_HOME"}
    return (StdioServer(name="toolbox", command=sys.executable, args=("-m", "agent_worker.toolbox"), env=env),)


def read_servers(path: Path, environ: Mapping[str, str]) -> tuple[ServerConfig, ...]:
    """The servers of the file in its order, without those that say `"disabled": true`.

    `${NAME}`, `${NAME:-default}` and `${env:NAME}` are replaced from `environ` in every string.

    Raises:
        ConfigError: the file can't be read, isn't JSON, or says something wrong.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    entries = document.get("mcpServers") if isinstance(document, dict) else None
    if not isinstance(entries, dict):
        raise ConfigError(f"{path}: mcpServers: an object with one entry per server is expected")
    return tuple(
        _server(f"{path}: mcpServers.{name}", path.parent, name, entry, environ)
        for name, entry in entries.items()
        if not (isinstance(entry, dict) and entry.get("disabled") is True)
    )


def _server(where: str, folder: Path, name: str, entry: object, environ: Mapping[str, str]) -> ServerConfig:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: an object is expected")
    fields = {key: _expanded(f"{where}.{key}", value, environ) for key, value in entry.items()}
    kind = _kind(where, fields)
    try:
        server = kind.model_validate({**fields, "name": name})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ConfigError(f"{'.'.join([where, *map(str, first['loc'])])}: {first['msg']}") from error
    if isinstance(server, StdioServer) and server.cwd is not None:
        return server.model_copy(update={"cwd": folder / server.cwd})
    return server


def _kind(where: str, fields: dict[str, Any]) -> type[StdioServer] | type[HttpServer]:
    declared = fields.pop("type", None) or fields.pop("transport", None)
    if declared is not None:
        kind = _KINDS.get(str(declared).lower())
        if kind is None:
            raise ConfigError(f"{where}.type: {declared!r} is not supported, only 'stdio' and 'http'")
        return kind
    if "command" in fields:
        return StdioServer
    if "url" in fields:
        return HttpServer
    raise ConfigError(f"{where}: `command` (stdio) or `url` (streamable HTTP) is missing")


def _expanded(where: str, value: object, environ: Mapping[str, str]) -> object:
    match value:
        case str():
            return _VARIABLE.sub(partial(_value, where, environ), value)
        case list():
            return [_expanded(f"{where}.{index}", item, environ) for index, item in enumerate(value)]
        case dict():
            return {key: _expanded(f"{where}.{key}", item, environ) for key, item in value.items()}
        case _:
            return value


def _value(where: str, environ: Mapping[str, str], match: re.Match[str]) -> str:
    value = environ.get(match["name"])
    if not value and match["default"] is not None:
        return match["default"]
    if value is None:
        raise ConfigError(f"{where}: the environment variable {match['name']} is not set")
    return value
