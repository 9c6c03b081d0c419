"""Who is to be sent away: others at a session, and its user with what no gateway takes. No log may tell of it."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Final

import httpx2
from faults.private import Private, message_id
from support.processes import SECRET, RunningGateway, bearer_of
from support.wire import wire
from websockets.exceptions import ConnectionClosed

from voicebus_stack.tokens import make_token

_TOO_LONG: Final = 70_000  # characters: more than a message may have
_STRANGER, _NO_TOKEN, _TOO_BIG = 4403, 4401, 1009  # close codes


async def doors_open_to_others(
    gateway: RunningGateway, http: httpx2.AsyncClient, private: Private, stranger: str
) -> AsyncIterator[str]:
    """The doors at which somebody was not sent away from another's session as the protocol says."""
    path = f"/ai/sessions/{private.session_id}"
    says = {"content": "let me in"}
    for method, place, body, accept in (
        ("GET", path, None, "application/json"),
        ("GET", f"{path}/events", None, "application/json"),
        ("GET", f"{path}/events", None, "text/event-stream"),
        ("POST", f"{path}/message", says, "application/json"),
        ("POST", f"{path}/say", says, "application/json"),
        ("DELETE", path, None, "application/json"),
    ):
        headers = bearer_of(stranger) | {"Accept": accept}
        async with http.stream(method, place, json=body, headers=headers) as answer:
            if answer.status_code != 404:
                yield f"{method} {place} as {accept}: {answer.status_code}"
    if (code := await _close_code(gateway, private, bearer_of(stranger))) != _STRANGER:
        yield f"WebSocket of a stranger: {code}"


async def doors_open_to_nonsense(
    gateway: RunningGateway, http: httpx2.AsyncClient, private: Private
) -> AsyncIterator[str]:
    """The doors at which its own user got away with what is refused: all of it holds the token or the secret."""
    path = f"/ai/sessions/{private.session_id}"
    says, own = f"{path}/message", bearer_of(private.owner)
    forged = {"Authorization": f"Bearer {private.token[:-8]}{'A' * 8}"}
    expired = {"Authorization": f"Bearer {make_token(SECRET, private.owner, lasts=timedelta(seconds=-60))}"}
    for method, place, headers, body, status in (
        ("GET", path, forged, "", 401),
        ("GET", f"{path}/events", expired, "", 401),
        ("GET", f"{path}?token={private.token}", {}, "", 401),
        ("GET", f"{path}/events?access_token={private.token}", {}, "", 401),
        ("POST", says, own, f'{{"content": "{private.secret}', 400),
        ("POST", says, own, json.dumps({"content": {"not a text": private.secret}}), 422),
        ("POST", says, own, json.dumps({"content": private.secret.ljust(_TOO_LONG, "!")}), 413),
        ("POST", says, own, _conflict(private), 409),
    ):
        answered = await http.request(
            method, place, headers={"Content-Type": "application/json"} | headers, content=body
        )
        if answered.status_code != status:
            yield f"{method} {place.partition('?')[0]}: {answered.status_code} instead of {status}"
    for name, headers, query in (
        ("a forged token", forged, ""),
        ("an expired token", expired, ""),
        ("?token=", {}, f"?token={private.token}"),
        ("?access_token=", {}, f"?access_token={private.token}"),
    ):
        if (code := await _close_code(gateway, private, headers, query)) != _NO_TOKEN:
            yield f"WebSocket with {name}: {code}"
    async with wire(gateway, private.session_id, sub=private.owner) as door:
        for raw in (f'{{"type": "text", "content": "{private.secret}', _conflict(private, type="text")):
            await door.socket.send(raw)
            answer = await door.until(lambda message: message["type"] in {"error", "ack"})
            if answer["type"] != "error":
                yield f"WebSocket: {answer}"
        await door.socket.send(private.secret.ljust(_TOO_LONG, "!"))
        if (code := await door.close_code()) != _TOO_BIG:
            yield f"WebSocket with a text that is too long: {code}"
    if not _not_http(gateway, private).startswith(b"HTTP/1.1 400"):
        yield "what is not HTTP"


def _conflict(private: Private, **fields: str) -> str:
    """Another text with the id of its last one."""
    return json.dumps({"id": message_id(private.turns - 1), "content": f"not {private.secret}", **fields})


async def _close_code(gateway: RunningGateway, private: Private, headers: dict[str, str], query: str = "") -> int:
    """With which a WebSocket with these headers ends that takes all there is; 0 if it was given something."""
    query = f"{query}&after=0" if query else "?after=0"
    async with wire(gateway, private.session_id, query, additional_headers=headers) as door:
        with suppress(ConnectionClosed):
            await door.receive()
            return 0
        return int(door.socket.close_code or 1006)


def _not_http(gateway: RunningGateway, private: Private) -> bytes:
    """The answer to what is none; gateways note that it came."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as raw:
        raw.sendall(f"TELL {private.secret} {private.token}\r\n\r\n".encode())
        return raw.recv(4096)
