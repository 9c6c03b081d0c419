"""The gateway's application, and what it owns while it runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Response
from fastapi.middleware.cors import CORSMiddleware

from gateway import rest, websocket
from gateway.auth import Authenticator
from gateway.bodies import LimitedBodies
from gateway.drain import Drain
from gateway.hub import Hub
from gateway.jwks import KeySet
from gateway.problems import install_problem_handlers
from gateway.settings import GatewaySettings
from gateway.state import Gateway
from voicebus.bus.bus import Bus, open_bus
from voicebus.chassis.health import Check, health_routes, report
from voicebus.contract.errors import VoicebusError

_log = structlog.get_logger(__name__)
_END_IDLE_EVERY_S = 10.0


def create_app(settings: GatewaySettings) -> FastAPI:
    """The application; it connects to Redis when it starts to serve."""
    drain = Drain(settings.drain_s)
    checks: dict[str, Check] = {}

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_bus(settings.bus()) as bus, asyncio.TaskGroup() as tasks:
            keys = _key_set(settings)
            app.state.gateway = Gateway(settings, bus, Hub(bus), Authenticator(settings, keys), drain)
            checks.update(_checks(bus, drain))
            running = [tasks.create_task(_end_idle_sessions(bus))]
            if keys:
                checks["keys"] = keys.check
                running.append(tasks.create_task(keys.run()))
            yield
            for task in running:
                task.cancel()

    app = FastAPI(title="Voicebus", version="0.1.0", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    app.state.drain = drain
    app.add_middleware(LimitedBodies, limit=settings.message_max)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Location", "Retry-After"],
    )
    install_problem_handlers(app)
    app.include_router(rest.router)
    app.include_router(websocket.router)
    app.routes.extend(health_routes(checks))

    @app.get("/ai/health")
    async def health(response: Response) -> dict[str, object]:
        """The health of every part, with its reason."""
        well, parts = await report(checks)
        response.status_code = 200 if well else 503
        return {"status": "healthy" if well else "unhealthy", "version": app.version, "parts": parts}

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


def _checks(bus: Bus, drain: Drain) -> dict[str, Check]:
    async def listening() -> None:
        if bus.subscriptions.deaf:
            raise VoicebusError("bus_unavailable", "Published messages do not arrive.")

    async def serving() -> None:
        if drain.started.is_set():
            raise VoicebusError("draining")

    return {"redis": bus.ping, "subscriptions": listening, "gateway": serving}


async def _end_idle_sessions(bus: Bus) -> None:
    """Every gateway looks; ending is idempotent."""
    while True:
        await asyncio.sleep(_END_IDLE_EVERY_S)
        try:
            if ended := await bus.sessions.end_idle():
                _log.info("idle_sessions_ended", count=ended)
        except VoicebusError as error:
            _log.warning("bus_error", reason=error.message)
