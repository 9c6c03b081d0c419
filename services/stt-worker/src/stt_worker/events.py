"""Pure: what the bus is told of a session's speech."""

import hashlib
from dataclasses import dataclass
from typing import Literal

from stt_worker.listen import Final, Partial
from stt_worker.progress import Progress
from voicebus.bus.emission import Emission
from voicebus.contract.errors import VoicebusError
from voicebus.contract.events import Error, Metric, Stt, User
from voicebus.contract.mail import UserTurn
from voicebus.contract.payloads import MetricData, ProblemData, SttData, UserData


@dataclass(slots=True)
class Reporter:
    """Writes a session's emissions. None belongs to a turn: a final transcript opens one."""

    session_id: str
    agent_type: str

    def partial(self, partial: Partial) -> Emission:
        """What is understood so far."""
        data = SttData(text=partial.text, is_final=False, start_ms=partial.start_ms, end_ms=partial.end_ms)
        return Emission().ephemeral(Stt(session_id=self.session_id, agent_type=self.agent_type, data=data))

    def final(self, progress: Progress, final: Final, *, before: str, final_ms: float | None) -> Emission:
        """The transcript, and the turn that it opens: with what was said `before`, if that goes on here."""
        common = {"session_id": self.session_id, "agent_type": self.agent_type}
        stt = SttData(
            text=final.text,
            is_final=True,
            confidence=final.confidence,
            start_ms=final.start_ms,
            end_ms=final.end_ms,
        )
        content = f"{before} {final.text}" if before else final.text
        emission = self._turn(Stt(**common, data=stt), content, self.speech_id(progress, "end", final.speech_end))
        if final_ms is not None:
            emission.ephemeral(Metric(**common, data=MetricData(name="stt_final_ms", value=round(final_ms, 1))))
        return emission

    def again(self, progress: Progress, before: str, at: int) -> Emission:
        """Asks what was said before again: what interrupted its answer was not understood."""
        return self._turn(None, before, self.speech_id(progress, "again", at))

    def speech_id(self, progress: Progress, what: Literal["begin", "end", "again"], at: int) -> str:
        """Names something in the stream. Whoever hears the same speech gives it the same id; no other speech has it."""
        name = f"{self.session_id}/{progress.stream}/{progress.start_id}/{what}/{at}"
        return hashlib.blake2b(name.encode(), digest_size=16).hexdigest()

    def _turn(self, stt: Stt | None, content: str, message_id: str) -> Emission:
        data = UserData(content=content, input="voice", id=message_id)
        user = User(session_id=self.session_id, agent_type=self.agent_type, data=data)
        return Emission().open_turn(stt, user, UserTurn(id=message_id, content=content, input="voice"))

    def error(self, error: VoicebusError, emission: Emission | None = None) -> Emission:
        """Something of the stream could not be transcribed; added to what else is told."""
        problem = ProblemData(code=error.code, message=error.message, temporary=error.temporary)
        return (emission or Emission()).event(
            Error(session_id=self.session_id, agent_type=self.agent_type, data=problem)
        )


def moved(emission: Emission, progress: Progress | None, mail_id: str | None) -> Emission:
    """The emission, which also moves the stage on: to this progress (None: no stream is open), past this mail."""
    emission.note(progress.model_dump_json(exclude_none=True) if progress else "")
    return emission.cursor(mail_id) if mail_id else emission
