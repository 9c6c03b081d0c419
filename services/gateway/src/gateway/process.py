"""The gateway's process. SIGTERM drains it before its sockets close."""

import asyncio
import signal

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from gateway import websocket
from gateway.app import create_app
from gateway.drain import Drain
from gateway.handshake import Handshake
from gateway.requests import with_patience
from gateway.settings import GatewaySettings
from voicebus.chassis.health import QuietServer, listen
from voicebus.chassis.logs import configure_logs
from voicebus.chassis.metrics import note_build

_log = structlog.get_logger(__name__)


async def serve(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns."""
    app = create_app(settings)
    listener = listen(settings.api_host, settings.api_port, stalled_s=settings.stalled_s)
    server = QuietServer(server_config(app, settings))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, app.state.drain.start)
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]))
        stopping = tasks.create_task(_stop_when_drained(app.state.drain, server))
        await serving
        stopping.cancel()


def server_config(app: FastAPI, settings: GatewaySettings) -> uvicorn.Config:
    """How uvicorn serves the application."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        forwarded_allow_ips=settings.trusted_proxies,
        http=with_patience(settings.request_s),
        ws=Handshake.of(websocket.endpoint(app)),
        ws_max_size=settings.message_max,
        ws_ping_interval=settings.ping_interval_s,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=5,
    )


async def _stop_when_drained(drain: Drain, server: uvicorn.Server) -> None:
    await drain.started.wait()
    _log.info("gateway_draining")
    await drain.done()
    server.should_exit = True


def main() -> None:
    """The process."""
    settings = GatewaySettings()
    configure_logs("gateway", level=settings.log_level, output=settings.log_format)
    note_build("gateway")
    uvloop.run(serve(settings))
