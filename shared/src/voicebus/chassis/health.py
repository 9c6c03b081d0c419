"""`/livez`, `/readyz` and `/metrics` of a worker, and the same answers for the gateway."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicebus.chassis.metrics import REGISTRY
from voicebus.contract.errors import VoicebusError

Check = Callable[[], Awaitable[None]]  # returns if all is well, else raises VoicebusError with the reason


async def report(checks: Mapping[str, Check]) -> tuple[bool, dict[str, str]]:
    """Runs the checks; each part's state is `ok` or the reason why not."""
    parts = {}
    for name, check in checks.items():
        try:
            async with asyncio.timeout(2):
                await check()
            parts[name] = "ok"
        except VoicebusError as error:
            parts[name] = error.message
        except TimeoutError:
            parts[name] = "no answer within 2 s"
    return all(state == "ok" for state in parts.values()), parts


def health_routes(checks: Mapping[str, Check], registry: CollectorRegistry = REGISTRY) -> list[Route]:
    """The three routes, for any Starlette application."""

    async def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        ready, parts = await report(checks)
        return JSONResponse({"ready": ready, "parts": parts}, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 is any free one.

    The protocol is named, because asyncio switches Nagle's delay off only where it is: 40 ms between small messages.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(2_048)
    return listener


class QuietServer(uvicorn.Server):
    """A uvicorn that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


@asynccontextmanager
async def health_server(checks: Mapping[str, Check], *, host: str, port: int) -> AsyncIterator[int]:
    """Serves the routes while inside; yields the port (a free one for 0)."""
    listener = listen(host, port)
    app = Starlette(routes=health_routes(checks))
    server = QuietServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))
    async with asyncio.TaskGroup() as owner:
        serving = owner.create_task(server.serve(sockets=[listener]))
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            await serving
