import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_worker.models.rules.likeness import likeness
from agent_worker.models.rules.words import parts_of, stem, words_of


@given(st.text(max_size=60))
def test_words_stand_in_the_sentence_where_they_say(text: str) -> None:
    end = 0
    for word in words_of(text):
        assert end <= word.start < word.end
        assert text[word.start : word.end] == word.text != ""
        end = word.end


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Well, what's THAT?", ["well", "what's", "that"]),
        ("twenty-three e-mails", ["twenty", "three", "e-mails"]),
        ("write to bob@example.com.", ["write", "to", "bob@example.com"]),
        ("(fact_sales) - please!", ["fact_sales", "please"]),
        ("is it 3.14 or -5 or .5?", ["is", "it", "3.14", "or", "-5", "or", ".5"]),
        ("2+3 is 5%", ["2", "plus", "3", "is", "5", "percent"]),
        ("2 * 3", ["2", "times", "3"]),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", ["don't"]),
    ],
)
def test_punctuation_is_no_part_of_words(text: str, words: list[str]) -> None:
    assert [word.norm for word in words_of(text)] == words


def test_words_in_quotation_marks_know_it() -> None:
    words = words_of("say \"hello there\" and 'good bye' to “my friend” or it's off")
    assert [word.norm for word in words if word.quote] == ["hello", "there", "good", "bye", "my", "friend"]


@pytest.mark.parametrize(
    ("identifier", "parts"),
    [
        ("create_issue", ("create", "issue")),
        ("getUserByID", ("get", "user", "by", "id")),
        ("turn-on-theLight2", ("turn", "on", "the", "light", "2")),
        ("HTTPServer", ("http", "server")),
    ],
)
def test_identifiers_are_words(identifier: str, parts: tuple[str, ...]) -> None:
    assert parts_of(identifier) == parts


@pytest.mark.parametrize(
    "forms",
    [
        "family families",
        "add adding added adds",
        "schedule scheduling scheduled schedules",
        "stop stopping stopped",
        "city cities",
        "box boxes",
        "man men",
        "send sent sending",
        "tokyo tokyo's",
    ],
)
def test_inflected_words_share_a_stem(forms: str) -> None:
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("meeting", "event"),
        ("forecast", "weather"),
        ("reminder", "remind"),
        ("conversion", "convert"),
        ("whether", "weather"),
        ("calender", "calendar"),
        ("radius", "redis"),
    ],
)
def test_words_that_may_stand_for_each_other(said: str, meant: str) -> None:
    assert 0.6 < likeness(stem(said), stem(meant)) < 1


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("lock", "unlock"),
        ("enable", "disable"),
        ("on", "off"),
        ("open", "close"),
        ("count", "country"),
        ("house", "horse"),
        ("table", "cable"),
        ("port", "portland"),
    ],
)
def test_words_that_must_not_be_confused(said: str, meant: str) -> None:
    assert likeness(stem(said), stem(meant)) == 0
