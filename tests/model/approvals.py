"""What must be true of tool calls that wait for a person's word: the part of the pure model that concerns them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from model.demand import demand

from voicebus.bus.scripts import SESSION_FIELDS
from voicebus.bus.sessions import session_of

PATIENCE_MS = 4_000


@dataclass
class Asked:
    """A call that clients were asked about."""

    turn: int
    expires_ms: int
    word: str = ""  # the first one that was accepted: 'approved' or 'denied'
    outcome: str = ""


@dataclass
class Approvals:
    """The calls of one session that were asked about, and what was said."""

    calls: dict[str, Asked] = field(default_factory=dict)
    words: dict[str, tuple[str, str]] = field(default_factory=dict)  # call and word, by the message that was accepted
    over: set[int] = field(default_factory=set)  # turns
    approved: set[str] = field(default_factory=set)  # calls; what a person said stays true if Redis forgets it

    def asked(self, call_id: str, turn: int, now_ms: int) -> None:
        """Clients were asked."""
        demand(call_id not in self.calls, "asked twice:", call_id)
        self.calls[call_id] = Asked(turn, now_ms + PATIENCE_MS)

    def said(self, message_id: str, call_id: str, word: str, reply: str, now_ms: int) -> None:
        """A client's word was taken to Redis, which said this."""
        what = (message_id, call_id, word, reply, self.calls.get(call_id))
        before = self.words.get(message_id)
        match reply:
            case "ok":
                demand(before is None, "one word counted twice:", *what)
                demand(self._waits(call_id, now_ms), "a word was accepted at", now_ms, *what)
                self.calls[call_id].word = word
                self.words[message_id] = (call_id, word)
                if word == "approved":
                    self.approved.add(call_id)
            case "repeated":
                demand(before == (call_id, word), "was never said:", *what)
            case "conflict":
                demand(before and before != (call_id, word), "no conflict:", *what)
            case "unknown":
                demand(before is None and not self._waits(call_id, now_ms), "a word was refused at", now_ms, *what)

    def made(self, call_id: str) -> None:
        """A call is begun."""
        demand(call_id not in self.calls or self.calls[call_id].word == "approved", "made:", self.calls.get(call_id))

    def finished(self, call_id: str, outcome: str, now_ms: int) -> None:
        """A call has its outcome."""
        if asked := self.calls.get(call_id):
            refused = asked.word == "denied" or (not asked.word and asked.expires_ms <= now_ms)
            demand(refused == (outcome == "cancelled"), "another outcome than was decided:", asked, outcome)
            asked.outcome = outcome

    def waiting(self, now_ms: int) -> list[str]:
        """The calls on which clients can decide."""
        return [call_id for call_id in self.calls if self._waits(call_id, now_ms)]

    def answered(self, turn: int) -> None:
        """A turn has its answer."""
        for call_id, asked in self.calls.items():
            demand(asked.turn != turn or asked.outcome, "answered without", call_id, asked)
        self.over.add(turn)

    def compare(self, fields: Mapping[bytes, bytes]) -> None:
        """With the session as Redis holds it."""
        open_calls = {call_id: asked for call_id, asked in self.calls.items() if asked.turn not in self.over}
        unsettled = {call_id for call_id, asked in open_calls.items() if asked.outcome != "cancelled"}
        demand(bool(fields.get(b"approvals")) == bool(unsettled), "approvals", fields.get(b"approvals"), unsettled)
        if unsettled:
            shown = session_of([fields.get(name.encode()) for name in SESSION_FIELDS]).approvals
            waiting = sorted(call_id for call_id in unsettled if not open_calls[call_id].word)
            demand([request.tool_call_id for request in shown] == waiting, "shown are", shown, "instead of", waiting)

    def finish(self) -> None:
        """When everybody had the time to do everything."""
        for call_id, asked in self.calls.items():
            demand(asked.turn in self.over, call_id, "waits for ever:", asked)

    def _waits(self, call_id: str, now_ms: int) -> bool:
        asked = self.calls.get(call_id)
        return bool(asked and not asked.word and now_ms < asked.expires_ms and asked.turn not in self.over)
