import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent_worker.sentences import MAX_FENCE_CHARS, MAX_SENTENCE_CHARS, SentenceSplitter


def split(*pieces: str) -> list[str]:
    splitter = SentenceSplitter()
    return [sentence for piece in pieces for sentence in splitter.feed(piece)] + splitter.flush()


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("It costs 3.14 dollars. Cheap.", ["It costs 3.14 dollars.", "Cheap."]),
        ("See e.g. the list. Then go.", ["See e.g. the list.", "Then go."]),
        ("Dr. Smith met Mr. J. K. Jones. They left.", ["Dr. Smith met Mr. J. K. Jones.", "They left."]),
        ("It is 3:42 p.m. in New York. Bye.", ["It is 3:42 p.m. in New York.", "Bye."]),
        ("It is 3:42 p.m. Is there more?", ["It is 3:42 p.m.", "Is there more?"]),
        ('"Is it?" he asked. "It is." Good.', ['"Is it?" he asked.', '"It is."', "Good."]),
        ("Open main.py or example.com today. Done.", ["Open main.py or example.com today.", "Done."]),
        ("Well... yes. And so on. OK", ["Well... yes.", "And so on.", "OK"]),
        ("**Bold claim.** Then _more._ End.", ["**Bold claim.**", "Then _more._", "End."]),
        ("你好。「再见。」(ok) Yes.", ["你好。", "「再见。」", "(ok) Yes."]),
        ("مرحبا؟ كيف حالك", ["مرحبا؟", "كيف حالك"]),
        ("Great! 🎉 Next one.", ["Great!", "🎉 Next one."]),
        ("1. First thing.\n2. Second thing.\n", ["1. First thing.", "2. Second thing."]),
        ("Things:\n- one\n- two\n\nDone", ["Things:", "- one", "- two", "Done"]),
        ("# Title\n\nText here", ["# Title", "Text here"]),
        ("A line that was\nwrapped goes on. End.", ["A line that was\nwrapped goes on.", "End."]),
    ],
)
def test_sentences_end_where_a_reader_would_pause(text: str, sentences: list[str]) -> None:
    assert split(text) == sentences


@pytest.mark.parametrize("text", ["", "   \n", "...", "🎉", "- \n---\n***\n", "?! … 🎉 \n\n", "``` \n```\n"])
def test_what_has_no_word_gives_no_sentence(text: str) -> None:
    assert split(text) == []


def test_a_sentence_comes_with_the_first_letter_of_the_next_one() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("The answer is 42.") == []
    assert splitter.feed(" ") == []
    assert splitter.feed("A") == ["The answer is 42."]
    assert splitter.feed("nd?\n") == ["And?"]


def test_a_text_without_marks_is_cut_behind_a_clause() -> None:
    words = "and on it goes " * 10
    first, *rest = split(f"{words.strip()}, {words * 3}")
    assert first == f"{words.strip()},"
    assert all(len(sentence) <= MAX_SENTENCE_CHARS for sentence in rest)
    assert split("x" * 500) == ["x" * 220, "x" * 220, "x" * 60]


def test_fenced_code_stays_in_one_piece() -> None:
    code = "```python\nx = 1. Or 2\n\nprint(x). Yes! No\n```"
    assert split(f"Look:\n\n{code}\nThat is all. Bye.") == ["Look:", code, "That is all.", "Bye."]


def test_a_long_block_of_code_is_closed_and_opened_again() -> None:
    lines = [f"value_{number} = {number}" for number in range(200)]
    *blocks, last = split("~~~\n" + "\n".join(lines) + "\n~~~\nDone.")
    assert last == "Done."
    assert len(blocks) > 1
    assert all(block.startswith("~~~\n") and block.endswith("\n~~~") for block in blocks)
    assert all(len(block) < MAX_FENCE_CHARS + 10 for block in blocks)
    assert [line for block in blocks for line in block.split("\n")[1:-1]] == lines


def test_code_that_is_never_closed_is_kept_apart_from_what_came_before() -> None:
    assert split("So:\n```sh\nls -l. And") == ["So:", "```sh\nls -l. And"]


WORDS = ["Hello", "it", "3", "p.m.", "e.g.", "Dr.", "**", "```", "~~~", ",", ":", "1.", "你好", "مرحبا"]
MARKS = [*'.!?…。」"”)(*`- \t\n🎉؟_', "\n\n"]
PIECES = st.sampled_from([*MARKS, *WORDS, "word" * 12, "x" * 230])
TEXTS = st.lists(PIECES | st.text(max_size=5), max_size=60).map("".join)


@given(TEXTS, st.data())
def test_the_sentences_do_not_depend_on_how_the_text_was_cut_into_pieces(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=10), label="cuts"))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(*pieces) == split(text) == split(*text)


@pytest.mark.parametrize(
    "text",
    [
        "``` " + "x" * 230 + "\nAnd so. On it goes",  # a fence only if one waited for ever for its first line
        "Hm. 。- And so",  # the first possible end is known later than the second
        "```\nab. Cd\n````\nDone",  # the closing mark grows
    ],
)
def test_no_end_is_taken_for_certain_too_early_or_too_late(text: str) -> None:
    assert split(*text) == split(text)


@given(TEXTS)
@example("```\n" + "word " * 400)
def test_every_word_comes_once_and_in_order(text: str) -> None:
    def words(of: str) -> str:
        return "".join(re.findall(r"[^\W_]", of))

    assert words("".join(split(text))) == words(text)


@given(TEXTS)
def test_no_sentence_is_empty_or_too_long(text: str) -> None:
    for sentence in split(text):
        assert sentence == sentence.strip() != ""
        assert len(sentence) <= (MAX_FENCE_CHARS + 400 if sentence.startswith(("```", "~~~")) else MAX_SENTENCE_CHARS)
