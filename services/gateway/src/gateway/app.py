"""The gateway's application, and what it owns while it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from gateway import rest
from gateway.admission import Admission
from gateway.auth import Authenticator
from gateway.backlog import BacklogWatch
from gateway.bodies import LimitedBodies
from gateway.connections import Connections
from gateway.drain import Drain
from gateway.health import gateway_checks, install_health
from gateway.hub import Hub
from gateway.jwks import KeySet
from gateway.limits import Limits
from gateway.problems import install_problem_handlers
from gateway.proxies import Proxies
from gateway.rest.answers import describe
from gateway.rest.near import LIMIT_NEAR
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from gateway.state import Gateway
from voicebus import __version__
from voicebus.bus.bus import Bus, open_bus
from voicebus.chassis.health import Check, Pulse
from voicebus.chassis.starting import started
from voicebus.contract.errors import VoicebusError

_log = structlog.get_logger(__name__)
_END_IDLE_EVERY_S = 10.0
_KNOWN_WITHIN_S = 30.0


def create_app(settings: GatewaySettings) -> FastAPI:
    """The application; it connects to Redis when it starts to serve."""
    drain = Drain(settings.drain_s)
    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        connections = Connections(drain)
        async with open_bus(settings.bus()) as bus, asyncio.TaskGroup() as tasks, connections.open():
            keys = _key_set(settings)
            revocations, limits = Revocations(bus, kept_s=settings.revocations_remembered_s), Limits(bus, settings)
            watch = app.state.backlog = BacklogWatch(bus)
            app.state.gateway = Gateway(
                settings,
                bus,
                Hub(bus, connections),
                Authenticator(settings, keys),
                revocations,
                limits,
                Admission(watch, limits, bus.inbox, settings),
                drain,
                connections,
                Proxies(settings.trusted_proxies),
            )
            checks.update(gateway_checks(bus, drain))
            checks["revocations"] = revocations.check
            beat = Pulse().run(exit_when_hung_s=settings.exit_when_hung_s)
            loops = (_end_idle_sessions(bus), revocations.run(), limits.run(), watch.run(), beat)
            running = [tasks.create_task(loop) for loop in loops]
            async with asyncio.timeout(_KNOWN_WITHIN_S):
                await revocations.ready.wait()
            if keys:
                checks["keys"] = keys.check
                running.append(tasks.create_task(keys.run()))
            started()
            yield
            for task in running:
                task.cancel()

    app = FastAPI(
        title="Voicebus",
        version=__version__,
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.drain = drain
    app.add_middleware(LimitedBodies, limit=settings.message_max)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Location", "Retry-After", *LIMIT_NEAR],
    )
    install_problem_handlers(app)
    app.include_router(rest.router)
    install_health(app, checks)
    describe(app, settings.agents)
    return app


def _key_set(settings: GatewaySettings) -> KeySet | None:
    if not settings.jwt_jwks:
        return None
    return KeySet(
        settings.jwt_jwks,
        max_age_s=settings.jwt_jwks_max_age_s,
        pause_s=settings.jwt_jwks_pause_s,
        timeout_s=settings.jwt_jwks_timeout_s,
    )


async def _end_idle_sessions(bus: Bus) -> None:
    """Every gateway looks; ending is idempotent."""
    while True:
        await asyncio.sleep(_END_IDLE_EVERY_S)
        try:
            if ended := await bus.sessions.end_idle():
                _log.info("idle_sessions_ended", count=ended)
        except VoicebusError as error:
            _log.warning("bus_error", reason=error.message)
