"""What a model calls the tools of several servers."""

import re

from hypothesis import given
from hypothesis import strategies as st

from agent_worker.tools.names import offered_names, qualified

PAIRS = st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), unique=True, max_size=12)


@given(tools=PAIRS)
def test_names_are_different_allowed_and_the_same_each_time(tools: list[tuple[str, str]]) -> None:
    names = offered_names(tools)
    assert len(set(names)) == len(tools)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{0,64}", name) for name in names)
    assert names == offered_names(tools)


def test_a_tool_keeps_its_own_name_while_no_other_has_it() -> None:
    assert offered_names([("a", "add"), ("b", "sub")]) == ["add", "sub"]


def test_a_shared_name_says_whose_it_is() -> None:
    assert offered_names([("a", "add"), ("b", "add"), ("b", "sub")]) == ["a__add", "b__add", "sub"]


def test_what_models_do_not_accept_is_replaced_or_cut() -> None:
    (dotted, long) = offered_names([("a", "files.read/all"), ("a", "x" * 100)])
    assert dotted == "files_read_all"
    assert re.fullmatch(r"x{55}_[0-9a-f]{8}", long)
    assert qualified("my server", "add") == "my_server__add"
