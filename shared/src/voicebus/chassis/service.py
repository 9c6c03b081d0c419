"""Runs a worker, and stops it on SIGTERM or SIGINT."""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from voicebus.bus.bus import Bus
from voicebus.bus.presence import ANNOUNCED_EVERY_S, WorkerState, WorkerStatus, bounded
from voicebus.chassis import metrics
from voicebus.chassis.health import Check, health_server, report
from voicebus.chassis.settings import ServiceSettings
from voicebus.chassis.starting import started
from voicebus.chassis.worker import Serve, Worker
from voicebus.contract.errors import VoicebusError
from voicebus.contract.keys import Stage

_log = structlog.get_logger(__name__)
_LEAVE_S = 1.0
_AGAIN_S = 1.0  # a part that is not well may soon be


def worker_name(stage: Stage) -> str:
    """A name for this process that no other one has."""
    return f"{stage}-{socket.gethostname()}-{os.getpid()}"


async def run_worker(
    bus: Bus,
    stage: Stage,
    serve: Serve,
    *,
    settings: ServiceSettings,
    capacity: int,
    checks: Mapping[str, Check] | None = None,
    details: Callable[[], Mapping[str, str]] = dict,
    waited_s: Callable[[], float] = float,
) -> None:
    """Works until SIGTERM or SIGINT, then drains. Answers /livez, /readyz and /metrics meanwhile.

    It also tells the gateways that it lives; `details` is what it says beside: its engine, model, tool servers.
    `waited_s` is how long the oldest of what it has taken has waited to be begun.
    """
    worker = Worker(bus, stage, worker_name(stage), serve, capacity=capacity)
    metrics.bus_deaf.set_function(lambda: bus.subscriptions.deaf)

    async def listening() -> None:
        if bus.subscriptions.deaf:
            raise VoicebusError("bus_unavailable", "Published messages do not arrive.")

    async def working() -> None:
        if worker.draining.is_set():
            raise VoicebusError("draining")

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.drain)
    all_checks = {"redis": bus.ping, "subscriptions": listening, "worker": working, **(checks or {})}
    async with health_server(
        all_checks,
        host=settings.health_host,
        port=settings.health_port,
        hang_s=settings.hang_s,
        exit_when_hung_s=settings.exit_when_hung_s,
    ) as port:
        _log.info("health_served", stage=stage, port=port)
        started()
        async with asyncio.TaskGroup() as tasks:
            announcing = tasks.create_task(_announce(bus, stage, worker, all_checks, details, waited_s))
            await worker.run(drain_s=settings.drain_s)
            announcing.cancel()
        with suppress(VoicebusError, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await bus.presence.leave(worker.name)


async def _announce(
    bus: Bus,
    stage: Stage,
    worker: Worker,
    checks: Mapping[str, Check],
    details: Callable[[], Mapping[str, str]],
    waited_s: Callable[[], float],
) -> None:
    """Tells every few seconds that the worker lives and how it is, until cancelled."""
    started_at = datetime.now(UTC)
    while True:
        well, parts = await report(checks)
        status: WorkerStatus = "draining" if worker.draining.is_set() else "ready" if well else "failing"
        state = WorkerState(
            name=worker.name,
            stage=stage,
            version=metrics.VERSION,
            status=status,
            capacity=worker.capacity,
            held=worker.held,
            waited_s=waited_s(),
            started_at=started_at,
            details=bounded(details()),
            failures=bounded({name: reason for name, reason in parts.items() if reason != "ok"}),
        )
        try:
            await bus.presence.announce(state)
        except VoicebusError as error:
            _log.warning("announcement_failed", stage=stage, reason=error.message)
        await asyncio.sleep(ANNOUNCED_EVERY_S if well else _AGAIN_S)
