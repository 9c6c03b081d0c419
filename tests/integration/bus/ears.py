"""Who listens to a channel."""


class Ears:
    """What a channel's listener was told."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.losses = 0

    def message(self, payload: bytes) -> None:
        self.heard.append(payload)

    def lost(self) -> None:
        self.losses += 1
