"""Starts a worker process and stops it on SIGTERM or SIGINT."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from voicebus.bus.bus import Bus
from voicebus.chassis.health import Check, health_server
from voicebus.chassis.logs import configure_logs
from voicebus.chassis.settings import ServiceSettings
from voicebus.chassis.worker import Serve, Worker
from voicebus.contract.errors import VoicebusError
from voicebus.contract.keys import Stage

_log = structlog.get_logger(__name__)


def run_process(
    service: str,
    work: Coroutine[Any, Any, None],
    *,
    settings: ServiceSettings,
    unusable: tuple[type[Exception], ...] = (),
) -> None:
    """Sets up the logs and does all the work of a process.

    A `VoicebusError`, or an error of the kinds in `unusable`, says that the service can't run as it is installed and
    configured: it is logged without a traceback, and the process exits with 1.
    """
    known: tuple[type[Exception], ...] = (VoicebusError, *unusable)
    configure_logs(service, level=settings.log_level, output=settings.log_format)
    try:
        asyncio.run(work)
    except known as error:
        _log.error("service_unusable", reason=str(error))
        sys.exit(1)


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
) -> None:
    """Works until SIGTERM or SIGINT, then drains. Answers /livez, /readyz and /metrics meanwhile."""
    worker = Worker(bus, stage, worker_name(stage), serve, capacity=capacity)

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
    async with health_server(all_checks, host=settings.health_host, port=settings.health_port) as port:
        _log.info("health_served", stage=stage, port=port)
        await worker.run(drain_s=settings.drain_s)
