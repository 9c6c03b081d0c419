"""Which turns are still being answered, read off the events. Pure."""

from dataclasses import dataclass, field

from voicebus_client.events import Event


def cuts_short(event: Event) -> bool:
    """Whether a turn's event ends it without a response. One sentence that can't be spoken does not."""
    return event.type == "interrupted" or (event.type == "error" and event.data.get("code") != "tts_failed")


@dataclass(slots=True)
class _Turn:
    segments: int | None = None  # sentences that will be spoken, once the response told
    spoken: int = 0  # sentences whose last chunk came
    over: bool = False

    @property
    def done(self) -> bool:
        return self.over or (self.segments is not None and self.spoken >= self.segments)


@dataclass(slots=True)
class Turns:
    """Fed with every event. A turn is done when it was answered and, if it is spoken, heard to its end."""

    _turns: dict[int, _Turn] = field(default_factory=dict)
    _expected: set[str] = field(default_factory=set)

    @property
    def any(self) -> bool:
        """Whether a turn was opened at all."""
        return bool(self._turns)

    @property
    def done(self) -> bool:
        """Whether nothing is awaited any more."""
        return not self._expected and all(turn.done for turn in self._turns.values())

    def expect(self, message_id: str) -> None:
        """A text was sent that will open a turn."""
        self._expected.add(message_id)

    def forget(self, message_id: str) -> None:
        """… but was refused."""
        self._expected.discard(message_id)

    def see(self, event: Event) -> None:
        """Notes what an event says about its turn."""
        if event.type == "user":
            self._expected.discard(str(event.data.get("id")))
            self._turns.setdefault(event.turn or 0, _Turn())
        turn = self._turns.get(event.turn or 0)
        if turn is None:
            return
        match event.type:
            case "response":
                turn.segments = int(event.data.get("segments", 0))
            case "tts" if event.data.get("is_last"):
                turn.spoken = max(turn.spoken, event.number("segment") + 1)
            case _ if event.seq is not None and cuts_short(event):
                turn.over = True
