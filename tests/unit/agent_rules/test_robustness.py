"""Whatever is said, and whatever a server declares: an answer, and arguments that fit the schema."""

from datetime import UTC, datetime
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
from hypothesis import example, given
from hypothesis import strategies as st
from unit.agent_rules.invented_servers import SERVERS, Tool

from agent_worker.models.rules.dialogue import Turn, plan_for
from agent_worker.models.rules.profile import profile_of
from agent_worker.models.rules.routing import route

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
ALL_TOOLS = [tool for server in SERVERS.values() for tool in server]
BEGINNINGS = [
    "",
    "lock the door",
    "add to the basket",
    "book a hotel",
    "convert ten usd",
    "and",
    "no i meant",
    "remind me",
]

WORDS = """
    please the a to in for with and of add send create list red paris five twenty hundred thousand point minus half
    tomorrow monday at pm december third noon next minutes light kitchen status name title is not without from called
    saying "quoted text" it's bob@example.com 42 3.5 1,000 $5 20% 2026-11-20 17:30 ORD-12 first second dozen that what
    why ? , . - x 'single' “curly” ünïcödé 日本 🎉 order number id five five one
"""
SENTENCES = st.lists(st.sampled_from(WORDS.split()) | st.text(max_size=8), max_size=25).map(" ".join)

NAMES = st.sampled_from(
    ["name", "cityName", "order_id", "due-date", "count", "to", "from", "text", "q", "状态", "x", ""]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 50) | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null", "nonsense"])
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS | st.lists(KINDS, max_size=3),
        "description": st.text(max_size=30),
        "title": st.text(max_size=10),
        "enum": st.lists(JSON, max_size=4) | JSON,
        "const": JSON,
        "format": st.sampled_from(["date", "time", "date-time", "duration", "email", "uri", "uuid", "odd"]),
        "pattern": st.sampled_from(["^[A-Z]{2}\\d+$", "(", ".*"]),
        "minimum": st.integers(-5, 5) | JSON,
        "maximum": st.integers(5, 50) | JSON,
        "default": JSON,
        "items": st.fixed_dictionaries({"type": KINDS}) | JSON,
        "required": JSON,
        "minItems": JSON,
        "maxLength": JSON,
        "allOf": JSON | st.lists(st.fixed_dictionaries({"type": KINDS, "properties": JSON}), max_size=2),
        "oneOf": JSON | st.lists(st.fixed_dictionaries({"const": JSON, "title": st.text(max_size=5)}), max_size=3),
        "anyOf": st.lists(st.fixed_dictionaries({"type": KINDS}), max_size=3),
        "$ref": st.sampled_from(["#/$defs/Loop", "#/nowhere", "#"]),
        "properties": st.dictionaries(NAMES, st.fixed_dictionaries({"type": KINDS}), max_size=2) | JSON,
    },
)
SCHEMAS = st.builds(
    lambda properties, required: {
        "type": "object",
        "properties": properties,
        "required": required,
        "$defs": {"Loop": {"type": "object", "properties": {"again": {"$ref": "#/$defs/Loop"}}}},
    },
    st.dictionaries(NAMES, PARAMETERS | st.just(True), max_size=4),
    st.lists(NAMES, max_size=3),
)
TOOLS = st.builds(Tool, st.text(min_size=1, max_size=15) | NAMES, st.none() | st.text(max_size=60), SCHEMAS)


@given(SENTENCES)
@example("status send red 0")
def test_a_complete_call_has_arguments_that_the_schema_allows(sentence: str) -> None:
    found = route(sentence, ALL_TOOLS, NOW)
    assert 0 <= found.confidence <= 1
    if found.tool is None or found.missing:
        return
    schema = next(tool.parameters_json_schema for tool in ALL_TOOLS if tool.name == found.tool)
    jsonschema.validate(dict(found.arguments), schema)


@given(SENTENCES, st.lists(TOOLS, max_size=4, unique_by=lambda tool: tool.name))
def test_no_schema_and_no_sentence_make_it_fail(sentence: str, tools: list[Tool]) -> None:
    names = {tool.name: tool for tool in tools}
    for text in (sentence, *(f"{tool.name} {sentence}" for tool in tools)):
        found = route(text, tools, NOW)
        arguments: dict[str, Any] = dict(found.arguments)
        if found.tool is not None:
            assert arguments.keys() <= names[found.tool].parameters_json_schema["properties"].keys()


@given(st.lists(st.tuples(st.sampled_from(BEGINNINGS), SENTENCES).map(" ".join), min_size=1, max_size=4))
def test_in_every_conversation_there_is_something_to_do_or_to_say(sentences: list[str]) -> None:
    profiles = [profile_of(tool) for tool in ALL_TOOLS]
    turns: list[Turn] = []
    for sentence in sentences:
        plan = plan_for([*turns, Turn(sentence, NOW)], profiles)
        assert plan.say or plan.routes
        calls = () if plan.say else tuple((str(one.tool), one.arguments) for one in plan.routes)
        turns.append(Turn(sentence, NOW, calls=calls, answer=plan.say or "Done."))
