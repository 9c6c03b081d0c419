"""Refuses new input at the door while what was accepted before waits too long for a worker."""

from gateway.backlog import BacklogWatch
from gateway.settings import GatewaySettings
from voicebus.contract.errors import Refused
from voicebus.contract.keys import Stage
from voicebus.contract.payloads import Mode

_RETRY_MOST_S = 30.0


class Admission:
    """Knows by the last look, once a second, how long each stage's oldest mail has waited."""

    def __init__(self, watch: BacklogWatch, settings: GatewaySettings) -> None:
        self._watch = watch
        self._budgets_s: dict[Stage, float] = {
            "stt": settings.budget_stt_s,
            "agent": settings.budget_agent_s,
            "tts": settings.budget_tts_s,
        }

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
