"""Who listens to a channel."""

from collections.abc import Sequence


class Ears:
    """What a channel's listener was told."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.losses = 0

    def messages(self, payloads: Sequence[bytes]) -> None:
        self.heard += payloads

    def lost(self) -> None:
        self.losses += 1
