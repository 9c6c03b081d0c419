"""Opening a session's WebSocket."""

import asyncio
from collections.abc import Mapping
from typing import Literal
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus

from voicebus_client.errors import Unreachable, error_from_response
from voicebus_client.options import Options
from voicebus_client.position import Position

AudioForm = Literal["binary", "base64"]
_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


class Socket(ClientConnection):
    """A WebSocket that can be closed in whatever state it is.

    The library aborts the transport of a connection that is lost, also to say that nothing can be sent any more.
    CPython's fails at that, with an AttributeError, if its buffer was flushed only after the other side had gone.
    """

    def connection_lost(self, exc: Exception | None) -> None:
        """The TCP connection is no more."""
        super().connection_lost(exc)
        self.transport = _Lost()


class _Lost(asyncio.Transport):
    """In place of the transport of a lost connection, which the library only aborts."""

    def abort(self) -> None:
        pass


def rest_url(base: str) -> str:
    """The address of the gateway for REST calls, without a trailing slash.

    Raises:
        ValueError: `base` is no address of a gateway (http, https, ws or wss).
    """
    parts = _split(base)
    scheme = "https" if _SCHEMES[parts.scheme] == "wss" else "http"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def socket_url(base: str, session_id: str, position: Position | None, audio: AudioForm) -> str:
    """The address of a session's WebSocket on the gateway at `base` (http, https, ws or wss).

    Raises:
        ValueError: `base` is no such address.
    """
    parts = _split(base)
    query = {"audio": audio} | (position.query() if position else {})
    path = f"{parts.path.rstrip('/')}/ai/ws/{quote(session_id, safe='')}"
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, urlencode(query), ""))


async def open_socket(url: str, headers: Mapping[str, str], options: Options) -> ClientConnection:
    """An open WebSocket.

    Raises:
        VoicebusError: the upgrade was refused; `status` is the HTTP answer's.
        Unreachable: there was no answer.
    """
    try:
        return await connect(
            url,
            additional_headers=dict(headers),
            compression=None,
            open_timeout=options.open_timeout_s,
            close_timeout=options.close_timeout_s,
            ping_interval=None,
            max_size=options.message_bytes,
            create_connection=Socket,
        )
    except InvalidStatus as error:
        raise error_from_response(error.response.status_code, bytes(error.response.body or b"")) from error
    except (OSError, InvalidHandshake) as error:
        raise Unreachable("unreachable", f"no gateway answers: {error}", temporary=True) from error


def _split(base: str) -> SplitResult:
    parts = urlsplit(base)
    if parts.scheme not in _SCHEMES or not parts.netloc or parts.port == 0:  # a port beyond 65535 raises by itself
        raise ValueError(f"not the address of a gateway: {base!r}")
    return parts
