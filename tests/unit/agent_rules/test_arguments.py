"""What is read from a sentence, kind by kind, for a tool that the sentence surely asks for."""

from datetime import UTC, datetime
from typing import Any

import pytest
from unit.agent_rules.invented_servers import Tool, flag, number, text, tool, whole

from agent_worker.models.rules.routing import route

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
MAIL = tool("send_message", "Send a message.", "recipient text", None, recipient=text(), text=text(), urgent=flag())
PLAN = tool(
    "plan_trip",
    "Plan a trip.",
    "start end",
    None,
    start=text("First day", format="date"),
    end=text("Last day", format="date"),
)
SHIP = tool(
    "ship_parcel",
    "Ship a parcel.",
    "weight",
    None,
    weight=number("Weight in kilos", exclusiveMinimum=0, maximum=30),
    insured=flag("Insure it"),
    speed=text(enum=["same_day", "overNight", "standard"]),
    pieces=whole(minimum=1),
)
ALARM = tool(
    "set_alarm",
    "Set an alarm.",
    "time",
    None,
    time=text(format="time"),
    days={"type": "array", "items": {"enum": ["monday", "sunday"]}},
)
TIMER = tool("start_timer", "Start a timer.", "seconds", None, seconds=whole("Length in seconds"), label=text())
MEET = tool(
    "book_room",
    "Book a room.",
    "",
    None,
    when=text(format="date-time"),
    length=text(format="duration"),
    people={"type": "array", "items": {"type": "string"}},
)
LOOK = tool(
    "find_user", "Find a user.", "", None, email=text(format="email"), site=text(format="uri"), id=text("User number")
)
ORDER = tool(
    "place_order",
    "Place an order.",
    "items",
    None,
    items={
        "type": "array",
        "items": {"type": "object", "required": ["dish"], "properties": {"dish": text(), "amount": whole()}},
    },
    kind={"const": "takeaway"},
)
MODE = tool(
    "set_mode",
    "Set the mode.",
    "mode kind",
    None,
    mode={"enum": [1, 2, 3]},
    kind={"const": "manual"},
    extra={"type": "object"},
)


@pytest.mark.parametrize(
    ("asked", "sentence", "arguments"),
    [
        (MAIL, 'Send a message to Ann: "See you at 5, OK?"', {"recipient": "Ann", "text": "See you at 5, OK?"}),
        (
            MAIL,
            "send an urgent message to bob saying call me back",
            {"recipient": "bob", "text": "call me back", "urgent": True},
        ),
        (
            MAIL,
            "send a message that is not urgent to bob saying hi",
            {"recipient": "bob", "text": "hi", "urgent": False},
        ),
        (MAIL, "send a message with recipient carol and text buy milk", {"recipient": "carol", "text": "buy milk"}),
        (MAIL, "send dinner is ready to the kids", {"recipient": "kids", "text": "dinner is ready"}),
        (PLAN, "plan a trip from december first to december ninth", {"start": "2026-12-01", "end": "2026-12-09"}),
        (PLAN, "plan a trip until friday starting tomorrow", {"start": "2026-11-21", "end": "2026-11-27"}),
        (SHIP, "ship a parcel with weight two point five", {"weight": 2.5}),
        (SHIP, "ship an insured parcel of four kilos over night", {"weight": 4, "insured": True, "speed": "overNight"}),
        (
            SHIP,
            "ship a parcel of 3 kilos without insured in two pieces same day",
            {"weight": 3, "insured": False, "pieces": 2, "speed": "same_day"},
        ),
        (ALARM, "set an alarm for half past six in the morning", {"time": "06:30:00"}),
        (
            ALARM,
            "set an alarm at seven thirty pm on monday and sunday",
            {"time": "19:30:00", "days": ["monday", "sunday"]},
        ),
        (TIMER, "start a timer for two minutes", {"seconds": 120}),
        (TIMER, "start a timer of one and a half hours called pizza", {"seconds": 5400, "label": "pizza"}),
        (
            MEET,
            "book a room tomorrow at ten for ninety minutes",
            {"when": "2026-11-21T10:00:00+00:00", "length": "PT1H30M"},
        ),
        (MEET, "book a room with people ann, bob and carol", {"people": ["ann", "bob", "carol"]}),
        (LOOK, "find the user with email ann@example.org", {"email": "ann@example.org"}),
        (LOOK, "find the user ann at example dot org", {"email": "ann@example.org"}),
        (LOOK, "find user number four four zero seven", {"id": "4407"}),
        (LOOK, "find the user of site example.com", {"site": "https://example.com"}),
        (
            ORDER,
            "place an order with dish noodle soup and amount two",
            {"items": [{"dish": "noodle soup", "amount": 2}]},
        ),
        (MODE, "set the mode to two", {"mode": 2, "kind": "manual"}),
    ],
)
def test_arguments_are_read_from_the_sentence(asked: Tool, sentence: str, arguments: dict[str, Any]) -> None:
    found = route(sentence, [asked], NOW)
    assert found.tool == asked.name
    assert found.missing == ()
    assert found.arguments == arguments


@pytest.mark.parametrize(
    ("asked", "sentence", "missing"),
    [
        (MAIL, "send a message", ["recipient", "text"]),
        (MAIL, "send a message to bob", ["text"]),
        (PLAN, "plan a trip", ["start", "end"]),
        (SHIP, "ship a parcel of ninety kilos", ["weight"]),
        (SHIP, "ship a parcel of zero kilos", ["weight"]),
        (ALARM, "set an alarm", ["time"]),
        (MODE, "set the mode to nine", ["mode"]),
        (ORDER, "place an order", ["dish"]),
    ],
)
def test_what_was_not_said_or_does_not_fit_is_missing(asked: Tool, sentence: str, missing: list[str]) -> None:
    found = route(sentence, [asked], NOW)
    assert found.tool == asked.name
    assert [one.name for one in found.missing] == missing
    assert found.intent == "clarify"


def test_of_an_optional_object_either_all_that_is_required_is_said_or_nothing() -> None:
    address = {"type": "object", "required": ["street", "town"], "properties": {"street": text(), "town": text()}}
    asked = tool("register_guest", "Register a guest.", "name", None, name=text(), address=address)
    assert route("register a guest called ann", [asked], NOW).arguments == {"name": "ann"}
    half = route("register a guest with street main road called ann", [asked], NOW)
    assert [one.name for one in half.missing] == ["town"]
