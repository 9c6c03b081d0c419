import pytest

from agent_worker.models.rules.numbers import find_numbers
from agent_worker.models.rules.words import words_of
from agent_worker.sentences import SentenceSplitter
from agent_worker.toolbox.catalogue import CatalogueTools, read_catalogue
from agent_worker.toolbox.tales import count_to, tell_facts, tell_story


def sentences(text: str) -> list[str]:
    splitter = SentenceSplitter()
    return [*splitter.feed(text), *splitter.flush()]


@pytest.mark.parametrize("topic", ["redis", "space", "ocean", "animals"])
@pytest.mark.parametrize("count", [1, 10, 20, 23])
def test_so_many_facts_are_so_many_different_sentences(topic, count: int) -> None:  # type: ignore[no-untyped-def]  # a literal
    told = sentences(tell_facts(topic, count))
    assert len(told) == len(set(told)) == count


@pytest.mark.parametrize("count", [2, 10, 25])
def test_a_story_has_the_length_that_was_asked_for_and_an_end(count: int) -> None:
    told = sentences(tell_story(count))
    assert len(told) == len(set(told)) == count
    assert told[-1] == "And that is how the harbour got its second light."


def test_it_counts_to_a_number_in_breaths_of_ten() -> None:
    assert count_to(3) == "One, two, three."
    numbers = find_numbers([word.norm for word in words_of(count_to(199))])
    assert [one.value for number in numbers for one in number.parts or (number,)] == list(range(1, 200))
    assert len(sentences(count_to(120))) == 12


def test_tables_are_found_by_what_one_calls_them() -> None:
    tools = CatalogueTools(read_catalogue(None))
    for said in ("purchase order", "purchase orders", "fact_bs_purchase_order", "the purchase order table"):
        assert tools.describe_table(said).startswith("fact_bs_purchase_order is a fact table.")
    assert "dimv_bs_supplier" in tools.search_catalogue("suppliers")
    assert "Nothing in the catalogue" in tools.search_catalogue("dinosaurs")
    assert len(tools.list_tables("FACT")) + len(tools.list_tables("DIMENSION")) == len(tools.list_tables())
