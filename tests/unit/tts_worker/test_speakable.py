import pytest
from hypothesis import given
from hypothesis import strategies as st

from tts_worker import speakable as module
from tts_worker.speakable import has_words, one_line, speakable


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It is 3:42 p.m. in New York.", "It is 3:42 p.m. in New York."),
        ("**Bold**, *slanted*, __strong__, ~~gone~~ and `code`.", "Bold, slanted, strong, gone and code."),
        ("**The first half.", "The first half."),
        ("second half** _too", "second half too"),
        ("2 * 3 * 4 is 24, 2*3 is 6, see snake_case_name.", "2 * 3 * 4 is 24, 2*3 is 6, see snake_case_name."),
        ("Read [the guide](https://example.com/a_(b)?c=1 'title') now.", "Read the guide now."),
        (
            "See https://www.example.com/a/b?c=1#d, or <https://docs.example.org/x>.",
            "See example.com, or docs.example.org.",
        ),
        ("![A red fox](fox.png) sleeps.", "A red fox sleeps."),
        ("## The title", "The title"),
        ("- milk", "milk"),
        ("2. eggs", "2. eggs"),
        ("> quoted\n> on", "quoted on"),
        ("Shopping\n\n- milk\n- two eggs!\n\nBye", "Shopping. milk. two eggs! Bye"),
        ("| city | time |\n|---|---|\n| Oslo | 9:00 |", "city, time. Oslo, 9:00"),
        ("| Oslo | 9:00 |", "Oslo, 9:00"),
        ("Look:\n```python\nx = 1\n```\nDone.", "Look: Done."),
        ("```\nnever closed", ""),
        ("    four spaces", "four spaces"),
        ("Great job 🎉👩🏽‍💻!", "Great job !"),
        ("AT&amp;T \\*really\\*", "AT&T really"),
        ('<break time="2s"/> hello', '<break time="2s"/> hello'),
        ("Nul\x00 and\x07 bell\r\n", "Nul and bell"),
        ("25 °C", "25 °C"),
        ("你好。", "你好。"),
    ],
)
def test_a_text_is_read_as_a_person_would(written: str, spoken: str) -> None:
    assert speakable(written) == spoken


@pytest.mark.parametrize("written", ["", " \n", "...", "---", "🎉", "***", "|---|---|", "- ", "\x00", "```\ncode\n```"])
def test_there_is_nothing_to_say_without_a_word(written: str) -> None:
    assert speakable(written) == ""


@given(st.text(alphabet=st.characters() | st.sampled_from("*_`~[]()#>|-+1. \n\\!&"), max_size=80))
def test_what_is_spoken_is_one_line_with_words_or_nothing(written: str) -> None:
    spoken = speakable(written)
    assert spoken == one_line(spoken)
    assert has_words(spoken) or spoken == ""
    spoken.encode()


@given(st.lists(st.sampled_from(["The", "fox", "isn't", "3.14", "e.g.", "cost,", "é", "over;", "你好"]), min_size=1))
def test_plain_prose_is_left_as_it_is(words: list[str]) -> None:
    assert speakable(" ".join(words)) == " ".join(words)


@given(st.text(st.sampled_from("aZé你19 ,.;!?'\"()-"), max_size=40))
def test_what_need_not_be_parsed_is_read_as_if_it_were(written: str) -> None:
    assert speakable(written) == module._read_aloud(written)
