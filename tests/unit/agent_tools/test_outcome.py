"""How a server's answer becomes what the model gets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.types import (
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    TextContent,
    TextResourceContents,
)

from agent_worker.tools.outcome import CONTENT_MAX, bounded, from_result


def content(*texts: str, structured: Any = None, is_error: bool = False) -> Any:
    blocks = [TextContent(text=text) for text in texts]
    return from_result(CallToolResult(content=blocks, structured_content=structured, is_error=is_error), 1.5).content


def test_texts_are_joined() -> None:
    assert content("one", "two") == "one\ntwo"
    assert content() == ""


@pytest.mark.parametrize(
    ("texts", "structured", "expected"),
    [
        (["42"], {"result": 42}, 42),
        (["hello"], {"result": "hello"}, "hello"),
        (['{\n  "a": 1\n}'], {"a": 1}, {"a": 1}),
        ([], {"a": 1}, {"a": 1}),
        (["x", "y"], {"result": ["x", "y"]}, ["x", "y"]),
        (['{"n": 1}', '{"n": 2}'], {"result": [{"n": 1}, {"n": 2}]}, [{"n": 1}, {"n": 2}]),
        (["two files"], {"files": ["a", "b"]}, 'two files\n{"files":["a","b"]}'),
        (["null"], {"result": None}, None),
    ],
)
def test_a_structured_result_is_given_once(texts: list[str], structured: Any, expected: Any) -> None:
    assert content(*texts, structured=structured) == expected


def test_an_error_is_told_in_words() -> None:
    outcome = from_result(CallToolResult(content=[TextContent(text="no such city")], is_error=True), 2)
    assert (outcome.content, outcome.is_error, outcome.outcome) == ("no such city", True, "error")
    assert content("why", structured={"code": 5}, is_error=True) == "why"


def test_resources_are_shown_or_described() -> None:
    text = EmbeddedResource(resource=TextResourceContents(uri="file:///a", text="body"))
    blob = EmbeddedResource(resource=BlobResourceContents(uri="file:///b", blob="AAAAAAAA", mime_type="image/png"))
    assert from_result(CallToolResult(content=[text, blob]), 1).content == (
        "body\n[resource file:///b, image/png, 6 bytes]"
    )


@given(text=st.text(min_size=1, max_size=40), times=st.integers(0, 20_000))
def test_content_never_grows_beyond_its_bound(text: str, times: int) -> None:
    whole = text * times
    shown = bounded(whole)
    assert isinstance(shown, str)
    assert len(shown.encode()) <= CONTENT_MAX
    if shown != whole:
        assert len(whole.encode()) > CONTENT_MAX
        kept, _, note = shown.rpartition("\n")
        assert whole.startswith(kept)
        assert note.startswith("[cut off: ")


def test_a_huge_structured_result_becomes_the_beginning_of_its_json() -> None:
    shown = bounded({"rows": ["row"] * 20_000})
    assert str(shown).startswith('{"rows":["row","row"')
    assert "[cut off: 120010 bytes" in str(shown)
