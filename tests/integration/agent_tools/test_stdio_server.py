"""A server over stdio: what its calls give, and what becomes of them when it dies."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
import structlog
from integration.agent_tools.harness import (
    LEGACY_SERVER,
    ODD_SERVER,
    call,
    eventually,
    lines,
    pid,
    stdio,
    toolset,
)

from agent_worker.tools.config import ServerOptions, StdioServer, ToolOptions


async def test_a_child_gets_a_minimal_environment_and_what_is_configured(tmp_path: Path) -> None:
    os.environ["VOICEBUS_TEST_SECRET"] = "s3cret"
    try:
        async with toolset(stdio(tmp_path, env={"GREETING": "hello"})) as tools:
            words = str((await call(tools, "whoami")).content)
    finally:
        del os.environ["VOICEBUS_TEST_SECRET"]
    assert "'GREETING'" in words
    assert "'PATH'" in words
    assert "VOICEBUS_TEST_SECRET" not in words


async def test_a_server_killed_in_mid_call_has_its_idempotent_calls_made_again_and_the_others_unknown(
    tmp_path: Path,
) -> None:
    async with toolset(stdio(tmp_path)) as tools:
        first = pid(await call(tools, "whoami"))
        async with asyncio.TaskGroup() as tasks:
            noted = tasks.create_task(call(tools, "note", text="n"))
            put = tasks.create_task(call(tools, "put", text="p"))
            await eventually(lambda: lines(tmp_path / "notes") == ["n"] and lines(tmp_path / "puts") == ["p"])
            os.kill(first, signal.SIGKILL)
        assert noted.result().outcome == "unknown"
        assert (put.result().outcome, put.result().content) == ("ok", "p")
        assert lines(tmp_path / "notes") == ["n"]
        assert lines(tmp_path / "puts") == ["p", "p"]
        assert pid(await call(tools, "whoami")) != first
        assert (await call(tools, "add", a=1, b=1)).content == 2


async def test_a_server_that_dies_while_nobody_calls_is_back_before_the_next_call(tmp_path: Path) -> None:
    async with toolset(stdio(tmp_path)) as tools:
        os.kill(pid(await call(tools, "whoami")), signal.SIGKILL)
        await eventually(lambda: not tools.status()[0].up)
        assert tools.definitions() == []
        (tmp_path / "go").touch()
        assert tools.status()[0].error == "the server ended the connection"
        assert (await call(tools, "note", text="later")).content == "later"
        assert lines(tmp_path / "notes") == ["later"]


async def test_a_call_without_an_answer_ends_at_its_time_out_and_is_cancelled_at_the_server(tmp_path: Path) -> None:
    options = ServerOptions(
        timeout_s=10, tools={"note": ToolOptions(timeout_s=0.3), "echo_later": ToolOptions(timeout_s=0.3)}
    )
    async with toolset(stdio(tmp_path, voicebus=options)) as tools:
        noted = await call(tools, "note", text="slow")
        assert (noted.outcome, noted.content) == ("unknown", "no answer within 0.3 s")
        await eventually(lambda: lines(tmp_path / "cancelled") == ["slow"])
        read = await call(tools, "echo_later", text="x", gate="never")
        assert read.outcome == "error"  # it only reads: nothing can have happened
        assert (await call(tools, "add", a=2, b=2)).content == 4


async def test_cancelling_the_caller_cancels_the_call_at_the_server(tmp_path: Path) -> None:
    async with toolset(stdio(tmp_path)) as tools:
        task = asyncio.create_task(call(tools, "note", text="leave"))
        await eventually(lambda: lines(tmp_path / "notes") == ["leave"])
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        await eventually(lambda: lines(tmp_path / "cancelled") == ["leave"])


async def test_a_tool_that_appears_later_is_offered(tmp_path: Path) -> None:
    async with toolset(stdio(tmp_path)) as tools:
        assert (await call(tools, "grow", name="plus")).outcome == "ok"
        await eventually(lambda: "plus" in [definition.name for definition in tools.definitions()])
        assert (await call(tools, "plus", a=3, b=4)).content == 7


async def test_a_server_of_the_handshake_era_works_and_its_noise_on_stdout_does_no_harm(tmp_path: Path) -> None:
    old = StdioServer(name="old", command=sys.executable, args=(LEGACY_SERVER, "stdio", str(tmp_path)))
    async with toolset(old) as tools:
        assert [definition.name for definition in tools.definitions()] == ["count"]
        assert (await call(tools, "count")).content == "call 1"
        await eventually(lambda: "late" in [definition.name for definition in tools.definitions()])
        assert (await call(tools, "late")).content == "call 2"


@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25"])
async def test_tools_that_are_none_are_dropped_by_name_and_the_others_work(tmp_path: Path, version: str) -> None:
    odd = StdioServer(name="odd", command=sys.executable, args=(ODD_SERVER, version, str(tmp_path)))
    with structlog.testing.capture_logs() as entries:
        async with toolset(odd) as tools:
            assert [definition.name for definition in tools.definitions()] == ["first", "last"]
            assert (await call(tools, "first")).content == "first works"
            assert (await call(tools, "last")).content == "last works"
            assert tools.status()[0].up
    assert lines(tmp_path / "starts") == ["started"]
    dropped = {entry["tool"]: entry["error"] for entry in entries if entry["event"] == "mcp_tool_dropped"}
    assert dropped.keys() == {"empty", "nullable", "numbered", "bare", ""}
    assert dropped["empty"].endswith("inputSchema.type: Field required")


async def test_a_server_that_hangs_is_started_anew_once_a_call_timed_out(tmp_path: Path) -> None:
    options = ServerOptions(timeout_s=0.3, connect_timeout_s=4)
    async with toolset(stdio(tmp_path, voicebus=options)) as tools:
        stuck = pid(await call(tools, "whoami"))
        os.kill(stuck, signal.SIGSTOP)
        try:
            assert (await call(tools, "add", a=1, b=1)).outcome == "error"
            await eventually(lambda: not tools.status()[0].up)
            assert tools.status()[0].error == "the server does not respond"
        finally:
            os.kill(stuck, signal.SIGKILL)
        await eventually(lambda: tools.status()[0].up)


async def test_what_a_child_writes_to_stderr_becomes_log_entries(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as entries:
        async with toolset(stdio(tmp_path)):
            pass
        crash = StdioServer(
            name="crash", command=sys.executable, args=("-c", "raise SystemExit('no luck ' + 'x' * 9000)")
        )
        async with toolset(crash):
            pass
    said = [(entry["mcp_server"], entry["line"]) for entry in entries if entry["event"] == "mcp_server_stderr"]
    assert ("tools", "stdio server starts") in said
    (first, *rest) = [line for server, line in said if server == "crash"]
    assert first.startswith("no luck xxx")
    assert max(map(len, [first, *rest])) == 4096


async def test_children_leave_when_their_worker_is_killed(tmp_path: Path) -> None:
    worker = (
        "import asyncio, sys; from pathlib import Path; from integration.agent_tools.harness import *\n"
        "async def main():\n"
        "    async with toolset(stdio(Path(sys.argv[1]))) as tools:\n"
        "        print(pid(await call(tools, 'whoami')), flush=True); await call(tools, 'note', text='n')\n"
        "asyncio.run(main())"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", worker, str(tmp_path), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    child = 0
    while not child:
        line = await process.stdout.readline()
        child = int(line) if line.strip().isdigit() else 0
    await eventually(lambda: lines(tmp_path / "notes") == ["n"])
    process.kill()
    await process.wait()
    await eventually(lambda: not Path(f"/proc/{child}").exists())
