"""Whether a client was told of events that Redis forgot: two of a source's five, which were accepted in epoch `a`."""

from collections.abc import Collection

import pytest
from faults.listeners import Listener, Written


@pytest.mark.parametrize(
    ("epochs", "voided", "untold"),
    [
        (["a", "a", "b"], [], 0),  # what came behind them came in another epoch
        (["a", "b", "b"], [], 0),  # it was away: the rest of what is left came in the other epoch, too
        (["a", "a", "a"], [3, 4], 0),  # it had them, and a gap took them back
        (["a", "a", "a"], [3], 1),
        (["a", "a", "a"], [], 2),  # they were passed over in silence
    ],
)
def test_who_is_told_by_a_gap_or_a_new_epoch(epochs: list[str], voided: Collection[int], untold: int) -> None:
    written = Written("session")
    written.forgotten = {3: "a", 4: "a"}
    listener = Listener(written)
    listener.seen, listener._epochs = [1, 2, 5], epochs
    listener.voided.update(voided)
    assert listener.untold == untold
