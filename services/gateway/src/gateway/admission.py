"""Refuses new input at the door while what was accepted before waits too long for a worker."""

from gateway.backlog import BacklogWatch
from gateway.limits import Limits, Near
from gateway.settings import GatewaySettings
from voicebus.bus.inbox import Inbox
from voicebus.contract.errors import Refused
from voicebus.contract.keys import Stage
from voicebus.contract.payloads import Mode

_RETRY_MOST_S = 30.0


class Admission:
    """Knows by the last look, once a second, how long each stage's oldest mail has waited."""

    def __init__(self, watch: BacklogWatch, limits: Limits, inbox: Inbox, settings: GatewaySettings) -> None:
        self._watch = watch
        self._limits = limits
        self._inbox = inbox
        self._budgets_s: dict[Stage, float] = {
            "stt": settings.budget_stt_s,
            "agent": settings.budget_agent_s,
            "tts": settings.budget_tts_s,
        }

    async def message(
        self, session_id: str, sub: str, message_id: str | None, mode: Mode, *, spoken: bool = False
    ) -> Near | None:
        """Lets a message in if there is room for it and not too many came; one that took effect before, always.

        Raises:
            Refused: `overloaded` or `too_many_messages`.
        """
        try:
            self.admit(mode, spoken=spoken)
            return await self._limits.message(session_id, sub, message_id)
        except Refused:
            if message_id is None or not await self._inbox.knows(session_id, message_id):
                raise
            return None

    def admit(self, mode: Mode, *, spoken: bool = False) -> None:
        """Goes on if each stage that input in this mode needs has its mail done in time.

        Raises:
            Refused: `overloaded`, with the time by which it may be over.
        """
        stages: tuple[Stage, ...] = (*(("stt",) if spoken else ()), "agent", *(("tts",) if mode == "voice" else ()))
        for stage in stages:
            late_s = self._watch.stages[stage].oldest_s - self._budgets_s[stage]
            if late_s > 0:
                raise Refused("overloaded", retry_after_ms=int(min(1.0 + late_s, _RETRY_MOST_S) * 1000))
