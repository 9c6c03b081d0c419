"""Conversations of several turns; each answer is worked out from the serialised history alone."""

from typing import Any

import pytest
from unit.agent_rules.conversation import Conversation, Outcome
from unit.agent_rules.invented_servers import SERVERS, Tool, number, text, tool

CITY_TIME = tool("time_in_city", "Tell the current time in a city.", "city", None, city=text("The city"))
NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "description": "The numbers"}
ADD = tool("add", "Add numbers: plus, sum.", "numbers", None, numbers=NUMBERS)
MULTIPLY = tool("multiply", "Multiply numbers: times.", "numbers", None, numbers=NUMBERS)
DIVIDE = tool(
    "divide", "Divide a number.", "dividend divisor", None, dividend=number(), divisor=number("The number to divide by")
)
TABLE = tool(
    "book_table",
    "Book a table at a restaurant.",
    "restaurant party_size time",
    None,
    restaurant=text(),
    party_size={"type": "integer", "minimum": 1, "maximum": 12},
    time=text(format="date-time"),
)
TRANSLATE = tool("translate", "Translate a text.", "text language", None, text=text(), language=text())
MAIL = tool("send_email", "Send an email.", "to subject", None, to=text(format="email"), subject=text())
TOOLS = [CITY_TIME, ADD, MULTIPLY, DIVIDE, TABLE, TRANSLATE, MAIL]


def results(name: str, arguments: dict[str, Any]) -> Any:
    match name:
        case "time_in_city":
            return f"It is noon in {arguments['city']}."
        case "add":
            return f"The sum is {sum(arguments['numbers'])}."
        case "multiply":
            product = 1
            for one in arguments["numbers"]:
                product *= one
            return f"The product is {product}."
        case _:
            return "done"


def conversation(tools: list[Tool] | None = None) -> Conversation:
    return Conversation(TOOLS if tools is None else tools, results)


async def test_it_asks_for_the_city_and_takes_the_next_message_for_the_answer() -> None:
    talk = conversation()
    asked = await talk.say("what time is it")
    assert (asked.calls, asked.text, asked.intent) == ([], "Which city do you mean?", "clarify")
    told = await talk.say("in New York please")
    assert told.calls == [("time_in_city", {"city": "New York"})]
    assert (told.text, told.intent) == ("It is noon in New York.", "time_in_city")


@pytest.mark.parametrize("answer", ["paris", "it's paris", "Paris, please.", "in paris", "um paris", "i mean paris"])
async def test_answers_come_in_many_forms(answer: str) -> None:
    talk = conversation()
    await talk.say("what time is it")
    told = await talk.say(answer)
    assert [name for name, _ in told.calls] == ["time_in_city"]
    assert told.calls[0][1]["city"].lower() == "paris"


async def test_it_asks_for_one_thing_after_the_other_and_takes_more_than_it_asked_for() -> None:
    talk = conversation()
    assert (await talk.say("book a table")).text == "Which restaurant do you mean?"
    assert (await talk.say("luigi's at eight pm tomorrow")).text == "What is the party size?"
    told = await talk.say("two people")
    assert told.calls == [
        ("book_table", {"restaurant": "luigi's", "time": "2026-11-21T20:00:00+00:00", "party_size": 2})
    ]


async def test_what_names_the_tool_gives_no_value_to_a_parameter_that_shares_a_word_with_it() -> None:
    harvest = tool("harvest_elbow", "", "beetle_harvest dagger", None, beetle_harvest=text(), dagger=text())
    conversation = Conversation([harvest])
    asked = await conversation.say("could you harvest an elbow whose dagger is gazelle")
    assert (asked.calls, asked.intent) == ([], "clarify")
    told = await conversation.say("salmon")
    assert told.calls == [("harvest_elbow", {"dagger": "gazelle", "beetle_harvest": "salmon"})]


async def test_a_number_that_is_out_of_bounds_is_asked_for_again() -> None:
    talk = conversation()
    asked = await talk.say("book a table at luigi's tomorrow at eight pm for forty people")
    assert asked.text == "Sorry, I need a whole number between 1 and 12. What is the party size?"
    assert (await talk.say("a hundred")).text == asked.text
    assert (await talk.say("okay twelve then")).calls[0][1]["party_size"] == 12


async def test_choices_are_listed_and_may_be_named_loosely_or_by_their_place() -> None:
    for answer, door in (("the front one", "front"), ("the third", "garage"), ("backdoor i mean back", "back")):
        talk = conversation(SERVERS["home"])
        assert (await talk.say("lock the door")).text == "Which door do you mean: front, back or garage?"
        assert (await talk.say(answer)).calls == [("lock_door", {"door": door})]


async def test_never_mind_drops_the_question() -> None:
    talk = conversation()
    await talk.say("what time is it")
    dropped = await talk.say("oh never mind")
    assert (dropped.text, dropped.intent) == ("Okay, never mind.", "cancel")
    assert (await talk.say("paris")).calls == []


async def test_another_request_drops_the_question() -> None:
    talk = conversation()
    await talk.say("what time is it")
    assert (await talk.say("add five and six")).calls == [("add", {"numbers": [5, 6]})]
    await talk.say("what time is it")
    assert (await talk.say("who won the world cup in brazil last year")).intent == "help"
    await talk.say("what time is it")
    assert (await talk.say("hello")).intent == "smalltalk"


async def test_a_greeting_can_be_the_text_that_was_asked_for() -> None:
    talk = conversation()
    assert (await talk.say("translate into french")).text == "What is the text?"
    assert (await talk.say("good morning")).calls == [("translate", {"text": "good morning", "language": "french"})]


async def test_a_question_that_was_interrupted_is_still_open() -> None:
    talk = conversation()
    await talk.say("what time is it")
    talk.cut_last_answer("Which city")
    assert (await talk.say("paris")).calls == [("time_in_city", {"city": "paris"})]


async def test_a_question_of_somebody_else_is_not_taken_for_ours() -> None:
    talk = conversation()
    await talk.say("what time is it")
    talk.cut_last_answer("How are you today?")
    assert (await talk.say("paris")).calls == []


async def test_numbers_that_were_too_few_are_completed() -> None:
    talk = conversation()
    assert (await talk.say("add seven")).intent == "clarify"
    assert (await talk.say("eight")).calls == [("add", {"numbers": [7, 8]})]


async def test_what_follows_changes_the_last_request() -> None:
    talk = conversation()
    await talk.say("what time is it in paris")
    for sentence, city in (("and in tokyo", "tokyo"), ("what about new york", "new york"), ("no i meant rome", "rome")):
        assert (await talk.say(sentence)).calls == [("time_in_city", {"city": city})]


async def test_a_sentence_may_hold_several_requests() -> None:
    reply = await conversation().say("add two and three and then tell me the time in paris")
    assert reply.calls == [("add", {"numbers": [2, 3]}), ("time_in_city", {"city": "paris"})]
    assert reply.text == "The sum is 5. It is noon in paris."
    assert reply.intent == "add+time_in_city"
    assert len(set(reply.call_ids)) == 2
    both = await conversation().say("tell me the time in rome and also in berlin")
    assert [arguments["city"] for _, arguments in both.calls] == ["rome", "berlin"]


async def test_a_later_request_may_use_the_result_of_an_earlier_one() -> None:
    talk = conversation()
    reply = await talk.say("add two and three and multiply the result by four")
    assert reply.calls == [("add", {"numbers": [2, 3]}), ("multiply", {"numbers": [5, 4]})]
    assert (await talk.say("multiply that by two")).calls == [("multiply", {"numbers": [20, 2]})]


async def test_without_the_result_that_a_request_waits_for_it_is_not_made() -> None:
    talk = Conversation(TOOLS, lambda *_: Outcome("out of paper", "failed"))
    reply = await talk.say("add two and three and multiply the result by four")
    assert [name for name, _ in reply.calls] == ["add"]
    assert "out of paper" in reply.text


async def test_small_talk_is_answered() -> None:
    talk = conversation()
    assert (await talk.say("hello there")).text == "Hello! What can I do for you?"
    assert (await talk.say("thank you very much")).text == "You're welcome."
    assert (await talk.say("what can you do")).text.startswith("I can tell the current time in a city, add numbers")
    assert (await talk.say("goodbye")).intent == "smalltalk"


async def test_it_repeats_the_last_answer() -> None:
    talk = conversation()
    await talk.say("what time is it in paris")
    for sentence in ("repeat that please", "sorry what did you say"):
        again = await talk.say(sentence)
        assert (again.text, again.intent, again.calls) == ("It is noon in paris.", "repeat", [])


async def test_it_has_the_name_that_the_instructions_give() -> None:
    talk = Conversation(TOOLS, results, instructions="You are Nova, a helpful assistant.")
    assert (await talk.say("who are you")).text.startswith("I'm Nova, your voice assistant.")
    assert (await conversation().say("who are you")).text.startswith("I'm your voice assistant.")


async def test_what_it_cannot_do_it_says_and_what_it_can() -> None:
    reply = await conversation().say("who wrote the odyssey")
    assert (reply.calls, reply.intent) == ([], "help")
    assert reply.text.startswith("I'm not sure how to help with that. I can tell the current time in a city")
    nothing = await conversation([]).say("what time is it in paris")
    assert "tools" in nothing.text


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (
            Outcome("Error executing tool book_table: The kitchen is closed.", "failed"),
            "Sorry, that didn't work: The kitchen is closed.",
        ),
        (
            Outcome("The connection was lost.", "interrupted"),
            "I don't know whether book table went through: The connection was lost.",
        ),
        (Outcome("Nobody approved it.", "denied"), "I was not allowed to do that: Nobody approved it."),
    ],
)
async def test_what_went_wrong_is_told_as_it_is(outcome: Outcome, told: str) -> None:
    talk = Conversation(TOOLS, lambda *_: outcome)
    reply = await talk.say("book a table at luigi's tomorrow at eight pm for two people")
    assert len(reply.calls) == 1
    assert reply.text.startswith(told)


async def test_silence_is_not_a_request() -> None:
    talk = conversation()
    assert (await talk.say(" … ")).text == "Sorry, I didn't catch that."
    await talk.say("what time is it")
    assert (await talk.say("?")).text == "Sorry, I didn't catch that."
