"""`/livez`, `/readyz` and `/metrics`.

A worker's are served by a thread of its own: it answers while the event loop is busy, and says so when the loop hangs.
The gateway's are on its main port, served by the loop itself: while that hangs they don't answer, which a probe's
time-out takes for the same.
"""

import asyncio
import faulthandler
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from voicebus.chassis.metrics import REGISTRY, loop_lag_seconds
from voicebus.contract.errors import VoicebusError

Check = Callable[[], Awaitable[None]]  # returns if all is well, else raises VoicebusError with the reason
Report = tuple[bool, dict[str, str]]  # whether all is well; each part's state is `ok` or the reason why not

_BEAT_S = 0.25
_CHECK_S = 2.0  # for each check
_STOP_S = 5.0  # for the thread
_QUEUE = 2_048  # connections that wait to be accepted


async def report(checks: Mapping[str, Check]) -> Report:
    """Runs the checks side by side; each has 2 s."""
    states = await asyncio.gather(*map(_state, checks.values()))
    return all(state == "ok" for state in states), dict(zip(checks, states, strict=True))


async def _state(check: Check) -> str:
    try:
        async with asyncio.timeout(_CHECK_S):
            await check()
    except VoicebusError as error:
        return error.message
    except TimeoutError:
        return f"no answer within {_CHECK_S:.0f} s"
    return "ok"


class Pulse:
    """Shows whether an event loop runs. `run` must be running in it; `age_s` may be asked from any thread."""

    def __init__(self) -> None:
        self._beat_at = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the loop ran last, give or take a quarter."""
        return time.monotonic() - self._beat_at

    async def run(self, *, exit_when_hung_s: float = 0.0) -> None:
        """Beats, and measures how late, until cancelled.

        If it has not beaten for `exit_when_hung_s`, the process shows where it stands and ends with 1, so that whoever
        restarts what ends helps where nobody asks `/livez` (0: never).
        """
        try:
            while True:
                self._beat_at = began = time.monotonic()
                if exit_when_hung_s:
                    faulthandler.dump_traceback_later(exit_when_hung_s, exit=True)
                await asyncio.sleep(_BEAT_S)
                loop_lag_seconds.observe(max(0.0, time.monotonic() - began - _BEAT_S))
        finally:
            faulthandler.cancel_dump_traceback_later()


def health_routes(
    checked: Callable[[], Awaitable[Report]],
    *,
    stuck: Callable[[], str] = str,
    registry: CollectorRegistry = REGISTRY,
) -> list[Route]:
    """The three routes, for any Starlette application. `stuck` says why the process must be ended ('': it need not)."""

    async def livez(_: Request) -> Response:
        reason = stuck()
        return PlainTextResponse(f"{reason or 'ok'}\n", status_code=503 if reason else 200)

    async def readyz(_: Request) -> Response:
        ready, parts = await checked()
        return JSONResponse({"ready": ready, "parts": parts}, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)]


def listen(host: str, port: int, *, stalled_s: float = 60.0) -> socket.socket:
    """A listening TCP socket; port 0 is any free one. Who takes nothing of what it is sent for `stalled_s` is cut off.

    The protocol is named, because asyncio switches Nagle's delay off only where it is: 40 ms between small messages.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # of Linux; connections inherit it
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(stalled_s * 1000))
    listener.bind((host, port))
    listener.listen(_QUEUE)
    return listener


class QuietServer(uvicorn.Server):
    """A uvicorn that leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Captures none."""
        yield


@asynccontextmanager
async def health_server(
    checks: Mapping[str, Check], *, host: str, port: int, hang_s: float = 15.0, exit_when_hung_s: float = 0.0
) -> AsyncIterator[int]:
    """Serves the routes from a thread while inside; yields the port (a free one for 0).

    The checks run in the caller's event loop, which counts as hung when it has not run for `hang_s`;
    the process ends when it has not for `exit_when_hung_s` (0: never).
    """
    pulse, loop = Pulse(), asyncio.get_running_loop()

    def stuck() -> str:
        age_s = pulse.age_s
        return f"the event loop has not run for {age_s:.1f} s" if age_s > hang_s else ""

    async def checked() -> Report:
        asked = asyncio.run_coroutine_threadsafe(report(checks), loop)
        try:
            async with asyncio.timeout(_CHECK_S + 0.5):
                return await asyncio.wrap_future(asked)
        except TimeoutError:
            return False, {"event_loop": f"has not run for {pulse.age_s:.1f} s"}

    listener = listen(host, port)
    app = Starlette(routes=health_routes(checked, stuck=stuck))
    server = QuietServer(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), name="health", daemon=True)
    thread.start()
    async with asyncio.TaskGroup() as owner:
        beating = owner.create_task(pulse.run(exit_when_hung_s=exit_when_hung_s))
        try:
            yield int(listener.getsockname()[1])
        finally:
            beating.cancel()
            server.should_exit = True
            await asyncio.to_thread(thread.join, _STOP_S)
            listener.close()
