"""Where a client is, though proxies stand before the gateway: by the rules with which uvicorn finds it for HTTP."""

from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.handshake import Opening


class Proxies:
    """Those whose X-Forwarded-For is believed: addresses with commas between, or `*`."""

    def __init__(self, trusted: str) -> None:
        self._middleware = ProxyHeadersMiddleware(_found, trusted)

    async def address_of(self, opening: Opening) -> str:
        """The client's address; empty where the socket has none."""
        peer = opening.peer
        if opening.header(b"x-forwarded-for") is not None:
            scope: Any = {"type": "websocket", "client": peer, "headers": opening.headers}
            await self._middleware(scope, _nothing, _nothing)
            peer = scope["client"]
        return peer[0] if peer else ""


async def _found(*_: Any) -> None:
    """The application that the middleware thinks it stands before."""


async def _nothing(*_: Any) -> Any:
    """Nobody receives or sends."""
