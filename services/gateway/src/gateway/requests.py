"""HTTP as uvicorn speaks it, but for clients that never finish what they began to ask."""

import asyncio
import re
from typing import Any, ClassVar, cast

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from gateway.handshake import Handshake

_log = structlog.get_logger(__name__)
_HEAD_MOST = 65_536  # bytes
_CONNECTION = re.compile(rb"\r\nconnection:[^\r]*upgrade")


class RequestsProtocol(H11Protocol):
    """Closes a connection whose request, with its body, has not come within `patience_s` seconds.

    A WebSocket's request goes to its own parser without being read here before, which costs as much again.
    """

    patience_s: ClassVar[float] = 20.0
    _given_up_at: asyncio.TimerHandle | None = None
    _is_first = True  # nothing has come yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """The client is there; it has yet to ask something."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or several."""
        if self._is_first and _opens_websocket(data):
            self._stop_watching()
            self._hand_over(data)
            return
        self._is_first = False
        super().data_received(data)
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """A request for a WebSocket that did not come as a whole, or not first; and what is behind it."""
        headers = b"".join(b"%b: %b\r\n" % header for header in self.headers)
        head = b"%b %b HTTP/1.1\r\n%b\r\n" % (event.method, event.target, headers)
        self._hand_over(head + self.conn.trailing_data[0])

    def _hand_over(self, request: bytes) -> None:
        self.connections.discard(self)
        handshake = cast("type[Handshake]", self.ws_protocol_class)
        protocol = handshake(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(request)

    def on_response_complete(self) -> None:
        """A part of the next request may be here already."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        self._stop_watching()

    def _watch(self) -> None:
        upgraded = self.transport.get_protocol() is not self
        if upgraded or self.conn.their_state not in {h11.IDLE, h11.SEND_BODY}:
            self._stop_watching()
        elif self._given_up_at is None:
            self._given_up_at = self.loop.call_later(self.patience_s, self._give_up)

    def _stop_watching(self) -> None:
        if self._given_up_at is not None:
            self._given_up_at.cancel()
            self._given_up_at = None

    def _give_up(self) -> None:
        self._given_up_at = None
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY} and not self.transport.is_closing():
            _log.info("request_never_came", client=self.client and self.client[0])
            self.transport.close()


def _opens_websocket(data: bytes) -> bool:
    """Whether this is a whole request for a WebSocket and nothing else, as clients send it."""
    if len(data) > _HEAD_MOST or not data.startswith(b"GET ") or data.find(b"\r\n\r\n") != len(data) - 4:
        return False
    head = data.lower()
    return b"\r\nupgrade: websocket\r\n" in head and b"\r\nhost:" in head and _CONNECTION.search(head) is not None


def with_patience(patience_s: float) -> type[RequestsProtocol]:
    """The protocol with this patience."""
    members: dict[str, Any] = {"patience_s": patience_s}
    return type("RequestsProtocol", (RequestsProtocol,), members)
