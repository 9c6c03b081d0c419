"""HTTP as uvicorn speaks it, but for clients that never finish what they began to ask."""

import asyncio
from typing import Any, ClassVar

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

_log = structlog.get_logger(__name__)


class RequestsProtocol(H11Protocol):
    """Closes a connection whose request, with its body, has not come within `patience_s` seconds."""

    patience_s: ClassVar[float] = 20.0
    _given_up_at: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """The client is there; it has yet to ask something."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """A part of a request, or several."""
        super().data_received(data)
        self._watch()

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


def with_patience(patience_s: float) -> type[RequestsProtocol]:
    """The protocol with this patience."""
    members: dict[str, Any] = {"patience_s": patience_s}
    return type("RequestsProtocol", (RequestsProtocol,), members)
