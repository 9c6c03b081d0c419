"""What tools give, over each transport."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from integration.agent_tools.harness import call, http, stdio, toolset

from agent_worker.tools.toolset import Toolset

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["stdio", "http", "http-json"])
async def tools(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Toolset]:
    folder = tmp_path_factory.mktemp("tools")
    if request.param == "stdio":
        async with toolset(stdio(folder)) as opened:
            yield opened
    else:
        async with http(folder, request.param) as server, toolset(server.config("tools")) as opened:
            yield opened


async def test_tools_are_listed_with_their_descriptions_schemas_and_annotations(tools: Toolset) -> None:
    definitions = {definition.name: definition for definition in tools.definitions()}
    put = definitions["put"]
    assert put.description == "Idempotent: the first call is kept back, later ones answer at once."
    assert put.parameters_json_schema["required"] == ["text"]
    assert put.metadata == {"server": "tools", "tool": "put", "title": None, "annotations": {"idempotentHint": True}}
    assert (tools.annotations("add").read_only, tools.annotations("add").idempotent) == (True, False)
    assert (tools.annotations("put").read_only, tools.annotations("put").idempotent) == (False, True)
    assert not tools.annotations("note").repeatable
    assert not tools.annotations("no such tool").repeatable


async def test_results_come_as_text_or_structured_json(tools: Toolset) -> None:
    added = await call(tools, "add", a=20, b=3)
    assert (added.content, added.outcome, added.is_error) == (23, "ok", False)
    assert added.duration_ms > 0
    assert (await call(tools, "weather", city="Oslo")).content == {"city": "Oslo", "celsius": 21.5}
    assert (await call(tools, "everything")).content == (
        "see for yourself\n[image, image/png, 3 bytes]\n[audio, audio/wav, 6 bytes]\n"
        "[link to file:///notes.txt: notes, what was said]"
    )


async def test_a_failing_tool_and_wrong_arguments_are_errors_with_the_servers_words(tools: Toolset) -> None:
    failed = await call(tools, "fail")
    assert (failed.outcome, failed.is_error) == ("error", True)
    wrong = await call(tools, "add", a=1, b="many")
    assert wrong.outcome == "error"
    assert "valid integer" in str(wrong.content)
    unknown = await call(tools, "subtract")
    assert unknown.outcome == "error"
    assert "add" in str(unknown.content)


async def test_the_server_learns_for_whom_and_in_which_session_it_works(tools: Toolset) -> None:
    assert (await call(tools, "who")).content == {
        "voicebus/sub": "ada",
        "voicebus/session_id": "s1",
        "voicebus/call_id": "c1",
    }


async def test_a_huge_result_is_cut_and_says_so(tools: Toolset) -> None:
    text = str((await call(tools, "huge", size=3_000_000)).content)
    assert len(text) <= 64 * 1024
    assert text.startswith("xxxx")
    assert text.endswith("[cut off: 3000000 bytes, the first 65536 at most are shown]")
