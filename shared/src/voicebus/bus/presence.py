"""Which workers live: each says so every few seconds, with what there is to know about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voicebus.bus.calls import Calls
from voicebus.contract.keys import Keys, Stage

ANNOUNCED_EVERY_S = 3.0
FORGOTTEN_AFTER_S = 12.0  # of silence
WORKERS_MOST = 1_000
_TEXT_MOST = 200  # characters of one thing that a worker says
_THINGS_MOST = 32

WorkerStatus = Literal["ready", "draining", "failing"]


class WorkerState(BaseModel):
    """What a worker says of itself. It holds neither secrets nor names of sessions."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(max_length=_TEXT_MOST)
    stage: Stage
    version: str
    status: WorkerStatus
    capacity: int  # sessions
    held: int  # sessions
    waited_s: float = 0.0  # how long the oldest of their work has waited to be begun
    started_at: datetime
    details: Mapping[str, str] = Field(default_factory=dict)  # engine, model, tool servers
    failures: Mapping[str, str] = Field(default_factory=dict)  # by check, with the reason


@dataclass(frozen=True, slots=True)
class LivingWorker:
    """A worker, and how long ago it said so."""

    state: WorkerState
    age_s: float = field(compare=False)


def bounded(things: Mapping[str, str]) -> dict[str, str]:
    """So much of these as a worker may say."""
    return {name[:_TEXT_MOST]: text[:_TEXT_MOST] for name, text in list(things.items())[:_THINGS_MOST]}


class Presence:
    """The workers of an installation."""

    def __init__(self, calls: Calls, keys: Keys, publish: str) -> None:
        self._calls = calls
        self._keys = (keys.workers, keys.worker_states)
        self._publish = publish

    async def announce(self, state: WorkerState) -> None:
        """Says that the worker lives; beyond `WORKERS_MOST` nobody notes it.

        Raises:
            BusUnavailable: no answer within the deadline.
        """
        await self._note(state.name, state.model_dump_json())

    async def leave(self, name: str) -> None:
        """The worker goes. Raises as `announce` does."""
        await self._note(name, "")

    async def workers(self) -> list[LivingWorker]:
        """Those that said so in the last `FORGOTTEN_AFTER_S`, by stage and name. Raises as `announce` does."""
        replies = await self._calls.script(
            "workers", self._keys, self._publish, "", int(FORGOTTEN_AFTER_S * 1000), WORKERS_MOST
        )
        found = []
        for age_ms, said in replies:
            try:
                found.append(LivingWorker(WorkerState.model_validate_json(said), age_ms / 1000))
            except ValidationError:
                continue  # of a version that says other things
        return sorted(found, key=lambda worker: (worker.state.stage, worker.state.name))

    async def _note(self, name: str, said: str) -> None:
        forget_ms = int(FORGOTTEN_AFTER_S * 1000)
        await self._calls.script("announce", self._keys, self._publish, "", name, said, forget_ms, WORKERS_MOST)
