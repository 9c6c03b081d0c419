"""The `mcpServers` file: what it may say, and how it is told what is wrong with it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_worker.tools.config import (
    ConfigError,
    HttpServer,
    ServerConfig,
    StdioServer,
    ToolOptions,
    default_servers,
    read_servers,
)

STDIO = {"command": "server"}


def read(tmp_path: Path, servers: Any, environ: dict[str, str] | None = None) -> tuple[ServerConfig, ...]:
    path = tmp_path / "mcp.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    return read_servers(path, environ or {})


def problem(tmp_path: Path, servers: Any, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, servers, environ)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "mcp.json"))
    return message.removeprefix(f"{tmp_path / 'mcp.json'}: ")


def test_servers_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    servers = read(tmp_path, {"b": STDIO, "a": {"url": "https://tools.example/mcp"}})
    assert servers == (
        StdioServer(name="b", command="server"),
        HttpServer(name="a", url="https://tools.example/mcp"),
    )


def test_every_key_that_other_programs_write_is_accepted(tmp_path: Path) -> None:
    entry = {
        "type": "stdio",
        "command": "npx",
        "args": ["-y", "notes"],
        "env": {"KEY": "k"},
        "cwd": "sub",
        "disabled": False,
        "autoApprove": ["x"],
    }
    (server,) = read(tmp_path, {"notes": entry})
    assert server == StdioServer(
        name="notes", command="npx", args=("-y", "notes"), env={"KEY": "k"}, cwd=tmp_path / "sub"
    )


@pytest.mark.parametrize("key", ["type", "transport"])
@pytest.mark.parametrize("kind", ["http", "streamable-http", "streamableHttp", "streamable_http"])
def test_streamable_http_has_many_names(tmp_path: Path, key: str, kind: str) -> None:
    entry = {key: kind, "url": "http://localhost:1/mcp", "headers": {"X-Key": "1"}}
    assert read(tmp_path, {"web": entry}) == (
        HttpServer(name="web", url="http://localhost:1/mcp", headers={"X-Key": "1"}),
    )


def test_variables_are_replaced_everywhere(tmp_path: Path) -> None:
    entry = {
        "command": "${BIN}/server",
        "args": ["--key=${env:KEY}", "${MISSING:-fall back}${EMPTY:-too}", "$HOME {BIN}"],
        "env": {"TOKEN": "${KEY}", "NONE": "${EMPTY}", "BLANK": "${MISSING:-}"},
    }
    (server,) = read(tmp_path, {"s": entry}, {"BIN": "/opt/bin", "KEY": "k3y", "EMPTY": ""})
    assert server == StdioServer(
        name="s",
        command="/opt/bin/server",
        args=("--key=k3y", "fall backtoo", "$HOME {BIN}"),
        env={"TOKEN": "k3y", "NONE": "", "BLANK": ""},
    )


@given(value=st.text(st.characters(exclude_characters="$", codec="utf-8"), max_size=20))
def test_a_value_from_the_environment_is_taken_as_it_is(tmp_path_factory: pytest.TempPathFactory, value: str) -> None:
    folder = tmp_path_factory.mktemp("config")
    (server,) = read(folder, {"s": {"command": "c", "args": ["${V}"]}}, {"V": value})
    assert isinstance(server, StdioServer)
    assert server.args == (value,)


def test_a_disabled_server_is_left_out_even_if_it_could_not_be_used(tmp_path: Path) -> None:
    assert read(tmp_path, {"off": {"disabled": True, "command": "${MISSING}"}, "on": STDIO}) == (
        StdioServer(name="on", command="server"),
    )


def test_our_own_options_of_a_server_and_its_tools(tmp_path: Path) -> None:
    options = {"timeout_s": 5, "tools": {"wipe": {"enabled": False}, "*": {"idempotent": True, "approval": True}}}
    (server,) = read(tmp_path, {"s": {**STDIO, "voicebus": options}})
    assert server.voicebus.timeout_s == 5
    assert server.options("wipe") == ToolOptions(enabled=False)
    assert server.options("any") == ToolOptions(idempotent=True, approval=True)


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        (["x"], "mcpServers: an object with one entry per server is expected"),
        ({"s": 5}, "mcpServers.s: an object is expected"),
        ({"s": {}}, "mcpServers.s: `command` (stdio) or `url` (streamable HTTP) is missing"),
        (
            {"s": {"type": "sse", "url": "http://x/"}},
            "mcpServers.s.type: 'sse' is not supported, only 'stdio' and 'http'",
        ),
        ({"s": {"command": ""}}, "mcpServers.s.command: String should have at least 1 character"),
        ({"s": {"command": "c", "args": "x"}}, "mcpServers.s.args: Input should be a valid tuple"),
        ({"s": {"command": "c", "env": {"PORT": 1}}}, "mcpServers.s.env.PORT: Input should be a valid string"),
        ({"s": {"url": "tools.example"}}, "mcpServers.s.url: String should match pattern"),
        (
            {"s": {"command": "c", "args": ["a", "${NO}"]}},
            "mcpServers.s.args.1: the environment variable NO is not set",
        ),
        (
            {"s": {**STDIO, "voicebus": {"timeout": 1}}},
            "mcpServers.s.voicebus.timeout: Extra inputs are not permitted",
        ),
        (
            {"s": {**STDIO, "voicebus": {"tools": {"t": {"timeout_s": -1}}}}},
            "mcpServers.s.voicebus.tools.t.timeout_s: Input should be greater than 0",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_path(tmp_path: Path, servers: Any, message: str) -> None:
    assert problem(tmp_path, servers).startswith(message)


def test_a_secret_never_gets_into_a_message(tmp_path: Path) -> None:
    entry = {"url": "${ADDRESS}", "headers": {"Authorization": "Bearer ${KEY}"}}
    assert "s3cret" not in problem(tmp_path, {"s": entry}, {"ADDRESS": "s3cret", "KEY": "s3cret"})


def test_a_file_that_is_missing_or_no_json_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_servers(tmp_path / "none.json", {})
    path = tmp_path / "bad.json"
    path.write_text('{"mcpServers": {,}}')
    with pytest.raises(
        ConfigError, match="not JSON: Expecting property name enclosed in double quotes: line 1 column 17"
    ):
        read_servers(path, {})


def test_without_a_file_our_toolbox_is_used() -> None:
    (toolbox,) = default_servers({"TOOLBOX_CATALOGUE": "c.json", "AGENT_API_KEY": "s3cret"})
    assert toolbox == StdioServer(
        name="toolbox",
        command=sys.executable,
        args=("-m", "agent_worker.toolbox"),
        env={"TOOLBOX_CATALOGUE": "c.json"},
    )


def test_a_toolbox_that_already_runs_is_used_where_it_is() -> None:
    (toolbox,) = default_servers({"TOOLBOX_URL": "http://127.0.0.1:8010/mcp"})
    assert toolbox == HttpServer(name="toolbox", url="http://127.0.0.1:8010/mcp")


def test_a_toolbox_url_that_is_none_names_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"TOOLBOX_URL.*url"):
        default_servers({"TOOLBOX_URL": "localhost:8010"})
