"""Positions as query and as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebus_client.position import Position

positions = st.builds(
    Position, st.text("0123456789abcdef", max_size=40), st.integers(0, 10**12), st.none() | st.integers(0, 10**12)
)


@given(positions)
def test_a_position_survives_as_text(position: Position) -> None:
    assert Position.parse(str(position)) == position


def test_a_bare_number_is_a_seq_without_earlier_speech() -> None:
    assert Position.parse("42") == Position("", 42, None)


@pytest.mark.parametrize("text", ["", "x", "-1", "1:2", "a:b:c", "zz:1:2", "a:1:-2", "a:1:2:3"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Position.parse(text)


def test_the_query_names_only_what_is_known() -> None:
    assert Position("ab", 4, 2).query() == {"epoch": "ab", "after": "4", "speech": "2"}
    assert Position("", 4, None).query() == {"after": "4"}
    assert Position.BEGINNING.query() == {"after": "0", "speech": "0"}
