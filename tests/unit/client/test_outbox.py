"""Messages are kept until acknowledged, and sent again in their order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voicebus_client.errors import OutboxFull, VoicebusError
from voicebus_client.outbox import Outbox


def drain(outbox: Outbox) -> list[str]:
    frames = []
    while (frame := outbox.next()) is not None:
        frames.append(frame)
    return frames


def filled(*ids: str) -> Outbox:
    outbox = Outbox()
    for message_id in ids:
        outbox.add(message_id, f"frame {message_id}")
    return outbox


def test_each_message_goes_out_once_per_connection() -> None:
    outbox = filled("a", "b")
    assert drain(outbox) == ["frame a", "frame b"]
    assert drain(outbox) == []
    outbox.linked()
    assert drain(outbox) == ["frame a", "frame b"]


def test_what_was_acknowledged_or_refused_is_not_sent_again() -> None:
    outbox = filled("a", "b", "c")
    assert outbox.acknowledged("a", 1, "e1")
    assert outbox.refused("b")
    assert not outbox.acknowledged("a", 1, "e1")
    assert not outbox.refused("x")
    assert drain(outbox) == ["frame c"]


def test_a_full_outbox_refuses_more() -> None:
    outbox = Outbox(limit=2)
    outbox.add("a", "1")
    outbox.add("b", "2")
    with pytest.raises(OutboxFull):
        outbox.add("c", "3")


def test_the_same_message_twice_is_one_and_another_with_its_id_is_refused() -> None:
    outbox = filled("a")
    assert not outbox.add("a", "frame a")
    with pytest.raises(VoicebusError, match="id") as caught:
        outbox.add("a", "other")
    assert caught.value.code == "id_conflict"
    assert drain(outbox) == ["frame a"]


def test_what_was_acknowledged_above_a_lost_position_goes_out_again_first() -> None:
    outbox = filled("a", "b", "c", "d")
    for seq, message_id in enumerate("abc", start=10):
        outbox.acknowledged(message_id, seq, "e1")
    assert outbox.void_above(10, "e2") == 2
    outbox.linked()
    assert drain(outbox) == ["frame b", "frame c", "frame d"]


def test_nothing_is_void_within_its_own_epoch() -> None:
    outbox = filled("a")
    outbox.acknowledged("a", 10, "e1")
    assert outbox.void_above(0, "e1") == 0


def test_a_message_that_was_acknowledged_anew_counts_in_the_new_epoch() -> None:
    outbox = filled("a")
    outbox.acknowledged("a", 10, "e1")
    outbox.void_above(5, "e2")
    assert outbox.acknowledged("a", 6, "e2")
    assert outbox.void_above(5, "e2") == 0
    assert outbox.void_above(5, "e3") == 1


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(0, 30))
def test_only_so_many_acknowledged_messages_are_kept(seqs: list[int], above: int) -> None:
    outbox = Outbox(limit=100, kept=8)
    for number, seq in enumerate(seqs):
        outbox.add(str(number), str(number))
        outbox.acknowledged(str(number), seq, "e1")
    expected = [str(n) for n, seq in list(enumerate(seqs))[-8:] if seq > above]
    outbox.void_above(above, "e2")
    assert drain(outbox) == expected
