"""One numbered write of a worker: what it appends, publishes, mails and checkpoints together."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self

from voicebus.bus.wire import Arg
from voicebus.contract.codec import event_body, mail_body, speech_halves
from voicebus.contract.events import Envelope, Stt, User
from voicebus.contract.mail import Sentence, UserTurn
from voicebus.contract.payloads import ToolApprovalRequestData

_WORDS = {"event", "ephemeral", "note"}


@dataclass(slots=True)
class Emission:
    """Operations in their order. `turn` 0 belongs to no turn and is never refused as cancelled.

    `response_id` names the model response that the emission belongs to; if that is abandoned, it is refused too.
    """

    turn: int = 0
    response_id: str = ""
    operations: list[Arg] = field(default_factory=list)

    @property
    def is_words(self) -> bool:
        """Whether it holds nothing but events and a note, as most do: many of those travel together."""
        operations = self.operations
        if len(operations) == 2:  # nearly always
            return operations[0] in _WORDS
        return all(name in _WORDS for name in operations[::2])

    def event(self, event: Envelope) -> Self:
        """Appends a durable event."""
        return self.body(event_body(event))

    def body(self, body: bytes) -> Self:
        """As `event`, of one that is serialised."""
        self.operations += ("event", body)
        return self

    def ephemeral(self, event: Envelope) -> Self:
        """Publishes an event without storing it."""
        self.operations += ("ephemeral", event_body(event))
        return self

    def begin(self) -> Self:
        """`response_id` begins: if its worker dies, the next one restarts from here."""
        self.operations.append("begin")
        return self

    def restart(self, event: Envelope) -> Self:
        """The open response is abandoned: its sentences and speech are withdrawn, later ones refused."""
        self.operations += ("restart", event_body(event))
        return self

    def open_turn(self, stt: Stt | None, user: User, mail: UserTurn) -> Self:
        """A final transcript opens a turn: two events and the agent's mail. None of them names the turn.

        Without a transcript, what was said before is asked again.
        """
        self.operations += ("open", event_body(stt) if stt else b"", event_body(user), mail_body(mail))
        return self

    def sentence(self, mail: Sentence) -> Self:
        """Mails a sentence to TTS."""
        self.operations += ("sentence", mail_body(mail))
        return self

    def speech(
        self,
        event: Envelope,
        audio: bytes,
        *,
        segment: int,
        sample_rate: int,
        is_last: bool,
        text: str | None = None,
    ) -> Self:
        """Appends a chunk of s16le mono audio to the speech stream; `event` gives session, agent and turn."""
        head, tail = speech_halves(
            event,
            segment=segment,
            sample_rate=sample_rate,
            is_last=is_last,
            response_id=self.response_id,
            text=text,
        )
        duration_ms = len(audio) // 2 * 1000 / sample_rate
        self.operations += ("speech", head, tail, audio, segment, round(duration_ms, 3), text or "", int(is_last))
        return self

    def journal(self, step: bytes) -> Self:
        """Records a finished step of the turn."""
        self.operations += ("journal", step)
        return self

    def history(self, entry: bytes, *, keep: int) -> Self:
        """Adds the turn to the conversation; the last `keep` turns stay."""
        self.operations += ("history", entry, keep)
        return self

    def answered(self, turn: int) -> Self:
        """The turn is over; its journal goes."""
        self.operations += ("answered", turn)
        return self

    def ask(self, request: ToolApprovalRequestData, *, expires_in: timedelta) -> Self:
        """The call waits for a person's word: so long by the server's clock, unless it is settled or its turn over."""
        expires_in_ms = round(expires_in.total_seconds() * 1000)
        self.operations += ("ask", request.tool_call_id, expires_in_ms, request.model_dump_json().encode())
        return self

    def settle(self, tool_call_id: str) -> Self:
        """The call is not to be made: nobody is asked about it any more."""
        self.operations += ("settle", tool_call_id)
        return self

    def cursor(self, mail_id: str) -> Self:
        """Mail up to this one is done with."""
        self.operations += ("cursor", mail_id)
        return self

    def note(self, text: str) -> Self:
        """Leaves the stage's next owner a note about where to go on."""
        self.operations += ("note", text)
        return self
