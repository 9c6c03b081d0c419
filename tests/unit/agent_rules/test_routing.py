from datetime import UTC, datetime
from typing import Any

import pytest
from unit.agent_rules.invented_servers import SERVERS, Tool, tool
from unit.agent_rules.sentences import AMBIGUOUS, NOTHING_FITS, ROWS

from agent_worker.models.rules.routing import route

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
ALL_TOOLS = [one for server in SERVERS.values() for one in server]


@pytest.mark.parametrize(("server", "sentence", "name", "arguments", "missing"), ROWS, ids=[row[1] for row in ROWS])
def test_a_plain_sentence_calls_the_right_tool_of_a_server_never_seen(
    server: str, sentence: str, name: str, arguments: dict[str, Any], missing: list[str]
) -> None:
    found = route(sentence, SERVERS[server], NOW)
    assert (found.tool, found.arguments, [one.name for one in found.missing]) == (name, arguments, missing)


def test_it_calls_the_right_tool_also_among_those_of_all_servers() -> None:
    missed = {
        sentence
        for _, sentence, name, arguments, _ in ROWS
        if ((found := route(sentence, ALL_TOOLS, NOW)).tool, found.arguments) != (name, arguments)
    }
    assert missed <= AMBIGUOUS


@pytest.mark.parametrize("sentence", NOTHING_FITS)
def test_what_fits_nothing_calls_nothing(sentence: str) -> None:
    for tools in (*SERVERS.values(), ALL_TOOLS):
        assert route(sentence, tools, NOW).tool is None


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("whether forecast for oslo", "get_weather"),
        ("creative hotel reservation in rome", "book_hotel"),
        ("find resturants in rome", "find_restaurants"),
        ("converse ten usd to eur", "convert_currency"),
    ],
)
def test_a_misheard_word_is_understood(sentence: str, name: str) -> None:
    assert route(sentence, SERVERS["travel"], NOW).tool == name


@pytest.mark.parametrize(
    ("sentence", "name"),
    [("turn the light in the garage on", "turn_on_light"), ("lights off in the garage", "turn_off_light")],
)
def test_opposites_are_told_apart(sentence: str, name: str) -> None:
    assert route(sentence, SERVERS["home"], NOW).tool == name


def test_a_question_creates_and_deletes_nothing() -> None:
    tools = [
        tool("create_invoice", "Create an invoice.", "", None),
        tool("delete_invoice", "Delete an invoice.", "", None),
        tool("list_invoices", "List invoices.", "", None),
    ]
    for sentence in (
        "which invoices are there",
        "what about my invoices",
        "are there any invoices",
        "show me the invoices",
    ):
        assert route(sentence, tools, NOW).tool == "list_invoices"


@pytest.mark.parametrize("tools", [[], [Tool("odd")], [Tool("x", "", {})]])
def test_servers_without_much_of_a_description_do_no_harm(tools: list[Tool]) -> None:
    assert route("turn on the light", tools, NOW).tool is None


def test_between_two_deeds_that_fit_alike_it_does_not_guess() -> None:
    found = route("something with the light in the kitchen", SERVERS["home"], NOW)
    assert found.tool is None
    assert {"turn_on_light", "turn_off_light"} <= {profile.name for profile in found.near}
