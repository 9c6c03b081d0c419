from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_worker.models.rules.speech import Result, numbers_in, pieces, sentence_for

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def told(content: Any, tool: str = "get weather", *, acts: bool = False) -> str:
    return sentence_for(Result(tool.replace(" ", "_"), tool, tool.partition(" ")[2], content, acts))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("It is 3:42 PM in New York.", "It is 3:42 PM in New York."),
        ("Sunny with some clouds in the evening", "Sunny with some clouds in the evening."),
        ("sunny", "The weather is sunny."),
        (21.5, "The weather is 21.5."),
        (42.0, "The weather is 42."),
        (True, "Yes."),
        (None, "Done."),
        ("", "Done."),
        ({"result": "sunny"}, "The weather is sunny."),
        ({"name": "Smith", "memberCount": 4}, "Name: Smith, member count: 4."),
        ('{"wind_speed": 3, "rain": false}', "Wind speed: 3, rain: no."),
        ({"a": {"b": 1, "c": [1, 2]}}, "A: b: 1 and c: 1 and 2."),
    ],
)
def test_results_become_sentences(content: Any, text: str) -> None:
    assert told(content) == text


def test_lists_are_counted_and_told_one_by_one() -> None:
    families = [{"name": "Smith", "members": 4}, {"name": "Jones", "members": 2}]
    assert (
        told(families, "list families")
        == "There are 2 families. First, name: Smith, members: 4. Second, name: Jones, members: 2."
    )
    assert told(["a", "b", "c"], "list letters") == "There are 3 letters: a, b and c."
    assert told([], "list letters") == "There are no letters."
    assert told(list(range(100)), "list numbers").endswith("and 24. And 75 more.")


def test_what_a_deed_returned_is_told_as_done() -> None:
    assert told("A-17", "create order", acts=True) == "Done: A-17."


def test_a_list_of_validation_errors_is_told_by_field() -> None:
    text = (
        "Error executing tool f: 1 validation error for fArguments\ncount\n  Input should be less than 5 "
        "[type=less_than, input_value=9, input_type=int]\n    For further information visit https://errors.example"
    )
    assert (
        sentence_for(Result("f", "f", "", text, outcome="failed"))
        == "Sorry, that didn't work: count: Input should be less than 5."
    )


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ("23 plus 19 is 42.", [23, 19, 42]),
        (7.5, [7.5]),
        ({"n": 3}, [3]),
        ("1,200.5 and -3", [1200.5, -3]),
        ("A-17b", []),
        (True, []),
    ],
)
def test_numbers_are_found_in_results(content: Any, numbers: list[float]) -> None:
    assert numbers_in(content) == numbers


@given(JSON, st.sampled_from(["success", "failed", "interrupted", "denied", "retried"]))
def test_every_result_gives_something_to_say(content: Any, outcome: str) -> None:
    text = sentence_for(Result("do_it", "do it", "it", content, outcome=outcome))
    assert text.strip()
    assert "".join(pieces(text)) == text
