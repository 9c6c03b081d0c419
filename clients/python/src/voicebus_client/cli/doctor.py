"""`doctor`: looks at one thing after the other, and says what is wrong and what to do."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from voicebus_client.cli.findings import Finding, good, show, warning, wrong
from voicebus_client.cli.settings import Settings
from voicebus_client.cli.terminal import Terminal
from voicebus_client.cli.token_check import token_findings
from voicebus_client.cli.worker_check import stage_findings
from voicebus_client.client import Voicebus
from voicebus_client.dial import open_socket, rest_url, socket_url
from voicebus_client.errors import VoicebusError
from voicebus_client.options import Options
from voicebus_client.tokens import Tokens

_PATIENCE_S = 15.0  # longer than the gateway waits for Redis
_PORTS = (8000, 8001, 8080, 80)  # where a gateway on this machine may be found
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CLOCK_OFF_S, _CLOCK_WRONG_S = 3.0, 10.0  # the gateway's default leeway is 10 s
_PINGS = 5
_ADVICE = {
    "redis": "Is Redis running, and is the gateway's REDIS_URL right?",
    "subscriptions": "The gateway can't hear Redis; it connects anew by itself. Look at the network between them.",
    "gateway": "This gateway is being stopped: another one serves on.",
    "keys": "Can the gateway reach what JWT_JWKS names?",
}


async def doctor(settings: Settings, terminal: Terminal) -> bool:
    """Prints what it finds as soon as it finds it; returns whether nothing is wrong."""
    well = True
    async for finding in examine(settings):
        show(terminal, finding)
        well = well and finding.mark != "wrong"
    return well


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """What is to be told, from the outside in; it ends where the rest can't be looked at."""
    try:
        url = rest_url(settings.url)
    except ValueError as error:
        yield wrong("address", str(error), "Name the gateway as --url http://host:port, or in VOICEBUS_URL.")
        return
    async with httpx2.AsyncClient(base_url=url, timeout=_PATIENCE_S) as http:
        began, began_s = time.time(), time.monotonic()
        try:
            answer = await http.get("/ai/health")
        except httpx2.TransportError as error:
            yield wrong("gateway", f"nothing answers at {url}: {_reason(error)}", await _where_else(url))
            return
        took_s = time.monotonic() - began_s
        health = _health(answer)
        if health is None:
            text = f"what answers at {url} is no gateway (status {answer.status_code})"
            yield wrong("gateway", text, "Is the address right, and does a proxy in between pass /ai on?")
            return
        yield good("gateway", f"answers at {url} within {took_s * 1000:.0f} ms")
        yield _versions(str(health.get("version")))
        yield _clock(answer.headers.get("date"), began + took_s / 2)
        for finding in _parts(health):
            yield finding
        for finding in stage_findings(health.get("stages"), str(health.get("version"))):
            yield finding
        accepted = True
        async for finding in token_findings(http, settings.token):
            yield finding
            accepted = accepted and finding.mark != "wrong"
    if accepted:
        yield await _websocket(settings)


def _health(answer: httpx2.Response) -> Mapping[str, Any] | None:
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) and isinstance(body.get("parts"), dict) else None


def _versions(gateway: str) -> Finding:
    own = version("voicebus-client")
    text = f"gateway {gateway}, client {own}"
    if gateway.split(".")[:2] == own.split(".")[:2]:
        return good("version", text)
    return warning("version", text, "They may not understand each other: install the client of the gateway's version.")


def _clock(date: str | None, now_s: float) -> Finding:
    try:
        server_s = parsedate_to_datetime(date or "").timestamp() + 0.5  # it has whole seconds
    except ValueError:
        return warning("clock", "the gateway does not say what time it has", "")
    off_s = now_s - server_s
    if abs(off_s) < _CLOCK_OFF_S:
        return good("clock", "as the gateway's")
    text = f"{abs(off_s):.0f} s {'ahead of' if off_s > 0 else 'behind'} the gateway's"
    advice = "Tokens seem expired, or not yet valid: set the clocks by NTP, here and there."
    return (wrong if abs(off_s) >= _CLOCK_WRONG_S else warning)("clock", text, advice)


def _parts(health: Mapping[str, Any]) -> list[Finding]:
    return [
        good(name, "ok") if state == "ok" else wrong(name, str(state), _ADVICE.get(name, "Look at the gateway's log."))
        for name, state in health["parts"].items()
    ]


async def _websocket(settings: Settings) -> Finding:
    """Opens a session of its own, and ends it."""
    try:
        async with Voicebus(settings.url, settings.token, attempts=1) as bus:
            session_id = (await bus.create_session(mode="text", ttl_s=60)).session_id
            try:
                rtt_ms = await _round_trip_ms(settings, session_id)
            finally:
                await bus.end_session(session_id)
    except (VoicebusError, TimeoutError) as error:
        text = f"{error.code}: {error}" if isinstance(error, VoicebusError) else f"no answer within {_PATIENCE_S:g} s"
        return wrong("websocket", text, "REST works: does a proxy in between let WebSockets through (Upgrade)?")
    return good("websocket", f"connects; a round trip takes {rtt_ms:.1f} ms")


async def _round_trip_ms(settings: Settings, session_id: str) -> float:
    """The median of some pings."""
    url = socket_url(settings.url, session_id, None, "binary")
    taken: list[float] = []
    async with asyncio.timeout(_PATIENCE_S):
        socket = await open_socket(url, await Tokens(settings.token).headers(), Options())
        async with socket:
            for _ in range(_PINGS):
                began_s = time.monotonic()
                await socket.send('{"type":"ping"}')
                while _type_of(await socket.recv()) != "pong":
                    pass
                taken.append(time.monotonic() - began_s)
    return sorted(taken)[_PINGS // 2] * 1000


def _type_of(frame: str | bytes) -> object:
    return orjson.loads(frame).get("type") if isinstance(frame, str) else None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


async def _where_else(url: str) -> str:
    """What to do where nothing listens."""
    parts = urlsplit(url)
    if parts.hostname not in _LOOPBACK:
        return "Is the address right, and does a firewall let you through?"
    elsewhere = [port for port in _PORTS if port != parts.port]
    found = await asyncio.gather(*(_is_gateway(f"http://127.0.0.1:{port}") for port in elsewhere))
    for port, there in zip(elsewhere, found, strict=True):
        if there:
            return f"A gateway answers at http://127.0.0.1:{port}: use --url, or VOICEBUS_URL."
    return "Start one (`make run`, or `docker compose up`), or name another address with --url."


async def _is_gateway(url: str) -> bool:
    try:
        async with httpx2.AsyncClient(timeout=1.0) as http:
            return _health(await http.get(f"{url}/ai/health")) is not None
    except httpx2.TransportError:
        return False
