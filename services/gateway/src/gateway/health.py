"""`/livez`, `/readyz`, `/metrics`, and `/ai/health`: each part of the installation, its state and the reason."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from fastapi import FastAPI, Response
from pydantic import AwareDatetime, BaseModel, Field

from gateway.backlog import SILENT_S, BacklogWatch
from gateway.drain import Drain
from gateway.rest.answers import answer
from voicebus.bus.backlog import Backlog
from voicebus.bus.bus import Bus
from voicebus.bus.presence import LivingWorker, WorkerStatus
from voicebus.chassis.health import Check, Report, health_routes, report
from voicebus.chassis.metrics import VERSION
from voicebus.contract.errors import VoicebusError
from voicebus.contract.keys import STAGES, Stage

_SHOWN = 100  # workers of a stage

State = Literal["healthy", "degraded", "unhealthy"]


class WorkerHealth(BaseModel):
    """A worker as it says itself."""

    name: str
    version: str
    state: WorkerStatus | Literal["silent"]
    reason: str = ""
    held: int = Field(description="sessions")
    capacity: int = Field(description="sessions")
    age_s: float = Field(description="since it said so")
    started_at: AwareDatetime
    details: dict[str, str] = Field(description="its engine, model and tool servers")


class StageHealth(BaseModel):
    """A stage and its workers; of many only some are listed."""

    state: State
    reason: str = ""
    workers: int
    held: int = Field(description="sessions")
    capacity: int = Field(description="sessions")
    waiting: int = Field(description="sessions that wait for a worker")
    oldest_waiting_s: float = Field(
        description="how long the oldest of their mail has waited, or what all workers have taken and not begun"
    )
    dead_letters: int
    listed: list[WorkerHealth]


_EXAMPLE: Final = {
    "status": "degraded",
    "version": VERSION,
    "parts": {"redis": "ok", "subscriptions": "ok", "gateway": "ok", "revocations": "ok"},
    "stages": {
        "tts": {
            "state": "degraded",
            "reason": "no tts worker",
            "workers": 0,
            "held": 0,
            "capacity": 0,
            "waiting": 1,
            "oldest_waiting_s": 2.5,
            "dead_letters": 0,
            "listed": [],
        }
    },
}
_UNWELL: Final = {"status": "unhealthy", "parts": {"redis": "Redis: no answer"}, "stages": {}}


class Health(BaseModel):
    """The whole installation as this gateway sees it."""

    status: State
    version: str
    parts: dict[str, str] = Field(description="of this gateway: `ok`, or the reason why not")
    stages: dict[Stage, StageHealth] = Field(description="none while Redis does not answer")


def install_health(app: FastAPI, checks: Mapping[str, Check]) -> None:
    """Adds the routes. `checks` is filled when the application starts, and `app.state.backlog` is its watch then."""

    async def checked() -> Report:
        return await report(checks)

    app.routes.extend(health_routes(checked))

    answers: dict[int | str, dict[str, Any]] = {
        200: answer("Healthy, or degraded: all is taken, some of it waits.", _EXAMPLE),
        503: answer("Unhealthy: this gateway can't serve.", _EXAMPLE | _UNWELL, model=Health),
    }

    @app.get("/ai/health", summary="Show health", responses=answers)
    async def health(response: Response) -> Health:
        """The health of every part, with its reason: 200 while it is healthy or degraded, else 503."""
        well, parts = await checked()
        found = _health_now(parts, app.state.backlog, well=well)
        response.status_code = 503 if found.status == "unhealthy" else 200
        return found


def _health_now(parts: dict[str, str], watch: BacklogWatch, *, well: bool) -> Health:
    stages: dict[Stage, StageHealth] = {}
    if watch.workers is not None:
        stages = {stage: _stage(stage, watch.stages[stage], watch.workers) for stage in STAGES}
    degraded = not stages or any(stage.state != "healthy" for stage in stages.values())
    status: State = "unhealthy" if not well else "degraded" if degraded else "healthy"
    return Health(status=status, version=VERSION, parts=parts, stages=stages)


def _stage(stage: Stage, backlog: Backlog, living: Sequence[LivingWorker]) -> StageHealth:
    workers = [_worker(each) for each in living if each.state.stage == stage]
    serving = [worker for worker in workers if worker.state == "ready"]
    reason = ""
    if not workers:
        reason = f"no {stage} worker"
    elif not serving:
        reason = f"no {stage} worker is ready"
    elif len(serving) < len(workers):
        reason = f"{len(workers) - len(serving)} of {len(workers)} workers not ready"
    elif down := sorted({name for worker in workers for name, told in worker.details.items() if told == "down"}):
        reason = f"{', '.join(down)} down"
    return StageHealth(
        state="degraded" if reason else "healthy",
        reason=reason,
        workers=len(workers),
        held=sum(worker.held for worker in workers),
        capacity=sum(worker.capacity for worker in workers),
        waiting=backlog.waiting,
        oldest_waiting_s=backlog.oldest_s,
        dead_letters=backlog.dead,
        listed=workers[:_SHOWN],
    )


def _worker(living: LivingWorker) -> WorkerHealth:
    said = living.state
    silent = living.age_s > SILENT_S
    reasons = [f"{check}: {reason}" for check, reason in said.failures.items()]
    return WorkerHealth(
        name=said.name,
        version=said.version,
        state="silent" if silent else said.status,
        reason=f"silent for {living.age_s:.0f} s" if silent else "; ".join(reasons),
        held=said.held,
        capacity=said.capacity,
        age_s=round(living.age_s, 1),
        started_at=said.started_at,
        details=dict(said.details),
    )


def gateway_checks(bus: Bus, drain: Drain) -> dict[str, Check]:
    """What must be well for this gateway to serve."""

    async def listening() -> None:
        if bus.subscriptions.deaf:
            raise VoicebusError("bus_unavailable", "Published messages do not arrive.")

    async def serving() -> None:
        if drain.started.is_set():
            raise VoicebusError("draining")

    return {"redis": bus.ping, "subscriptions": listening, "gateway": serving}
