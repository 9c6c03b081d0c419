"""How a WebSocket begins: a request that asks for one is answered here, and its socket is a `Link` from then on.

ASGI has no part in it: through it a connection costs three times as much to open.
"""

import asyncio
import binascii
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast
from urllib.parse import unquote

import httptools
from starlette.datastructures import QueryParams
from uvicorn.config import Config
from uvicorn.server import ServerState

from gateway.link import Link

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_KEY_BYTES: Final = 16
_VERSION: Final = b"Sec-WebSocket-Version: 13\r\n"

Header = tuple[bytes, bytes]  # name in lower case, value


@dataclass(frozen=True, slots=True)
class Opening:
    """A client's request for a WebSocket."""

    path: str  # decoded
    query: QueryParams
    headers: Sequence[Header]
    peer: tuple[str, int] | None  # at the other end of the socket

    def header(self, name: bytes) -> str | None:
        """The first of this name, which is in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name), None)

    @property
    def subprotocols(self) -> list[str]:
        """What the client offers to speak."""
        offers = [value.decode("latin-1") for name, value in self.headers if name == b"sec-websocket-protocol"]
        return [offer.strip() for each in offers for offer in each.split(",")]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where clients connect. Nobody is refused before its WebSocket is open: browsers would only see 1006."""

    path: re.Pattern[str]
    subprotocol: str  # is spoken, if the client offers it
    serve: Callable[[Link, Opening, re.Match[str]], None]  # returns at once


class Handshake(asyncio.Protocol):
    """Reads one request, which must have come as a whole. `of` makes the class that uvicorn is given."""

    endpoints: ClassVar[Sequence[Endpoint]] = ()
    _transport: asyncio.Transport

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - as uvicorn calls it
    ) -> None:
        self._config = config
        self._users = server_state.connections

        self._url = b""
        self._headers: list[Header] = []

    @classmethod
    def of(cls, *endpoints: Endpoint) -> "type[Handshake]":
        """One for these endpoints."""
        return type(cls.__name__, (cls,), {"endpoints": endpoints})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client asks for something, and it may be a WebSocket."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The request, and perhaps what the client says behind it."""
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._answer(parser, data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            self._refuse(HTTPStatus.BAD_REQUEST)

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        """The request's target, or a part of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))

    # The answer.

    def _answer(self, parser: httptools.HttpRequestParser, rest: bytes) -> None:
        opening = self._opening()
        key = opening.header(b"sec-websocket-key") or ""
        if parser.get_method() != b"GET" or (opening.header(b"upgrade") or "").lower() != "websocket":
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif opening.header(b"sec-websocket-version") != "13":
            self._refuse(HTTPStatus.UPGRADE_REQUIRED, _VERSION)
        elif not _is_key(key):
            self._refuse(HTTPStatus.BAD_REQUEST)
        else:
            for endpoint in self.endpoints:
                if found := endpoint.path.fullmatch(opening.path):
                    endpoint.serve(self._accept(opening, key, endpoint.subprotocol, rest), opening, found)
                    return
            self._refuse(HTTPStatus.NOT_FOUND)

    def _opening(self) -> Opening:
        target, _, query = self._url.partition(b"?")
        peer = self._transport.get_extra_info("peername")
        return Opening(
            unquote(target.decode("latin-1")),
            QueryParams(query),
            self._headers,
            peer[:2] if isinstance(peer, tuple) else None,
        )

    def _accept(self, opening: Opening, key: str, subprotocol: str, rest: bytes) -> Link:
        accept = b64encode(sha1(key.encode() + _GUID, usedforsecurity=False).digest())
        chosen = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol in opening.subprotocols else ""
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept, chosen.encode())
        )
        link = Link(
            self._transport,
            cast("set[Link]", self._users),
            message_max=self._config.ws_max_size,
            ping_s=self._config.ws_ping_interval,
        )
        if rest:
            link.take(rest)
        return link

    def _refuse(self, status: HTTPStatus, headers: bytes = b"") -> None:
        line = f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()
        self._transport.write(line + headers + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        self._transport.close()


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
