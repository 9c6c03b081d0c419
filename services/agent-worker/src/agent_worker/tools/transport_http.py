"""Streamable HTTP to an MCP server, where a broken connection costs the calls that used it and no others.

`streamable_http_client` lets an `httpx2.TransportError` end its task group, and with it every call in flight. So each
failure is answered here in the server's stead, by a 502 that carries a JSON-RPC error, which the client hands to the
one call that it belongs to. The error's `data` says whether the server can have seen the request.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import StrEnum
from http import HTTPStatus

import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import CONNECTION_CLOSED, INTERNAL_ERROR, ErrorData, JSONRPCError

from agent_worker.tools.config import HttpServer
from agent_worker.tools.streams import Streams

MAX_ANSWER_BYTES = 16 * 1024 * 1024  # of one answer; a longer one fails its call
IDLE_READ_S = 300.0  # no byte on a stream of events for so long: the stream is opened anew
KEEPALIVE_S = 2.0  # below what servers use (uvicorn: 5 s), so that we are never the ones to use a closed connection
_TROUBLE = "voicebus/trouble"
_NOT_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.LocalProtocolError)
_IDENTITY = {"accept-encoding": "identity"}  # a body that can't be decoded would end the client's task group


class Trouble(StrEnum):
    """Why a request has no answer."""

    UNREACHABLE = "unreachable"  # it was not sent
    FORGOTTEN = "forgotten"  # the server refused it, as it no longer knows the session
    LOST = "lost"  # it was sent, or may have been


def trouble(error: MCPError) -> Trouble | None:
    """Why the request has no answer; None for an error that is the server's answer."""
    if error.code != CONNECTION_CLOSED:
        return None
    told = error.data.get(_TROUBLE) if isinstance(error.data, dict) else None
    return next((kind for kind in Trouble if kind.value == told), Trouble.LOST)


@asynccontextmanager
async def http_streams(server: HttpServer, timeout_s: float) -> AsyncGenerator[Streams]:
    """The message streams to a server behind streamable HTTP; `timeout_s` bounds connecting and writing."""
    async with (
        httpx2.AsyncClient(
            transport=ContainedTransport(httpx2.AsyncHTTPTransport(limits=_LIMITS, trust_env=False)),
            headers=_IDENTITY | server.headers,
            timeout=httpx2.Timeout(timeout_s, read=IDLE_READ_S),
        ) as client,
        streamable_http_client(server.url, http_client=client, max_sse_event_size=MAX_ANSWER_BYTES) as streams,
    ):
        yield streams


_LIMITS = httpx2.Limits(max_connections=256, max_keepalive_connections=32, keepalive_expiry=KEEPALIVE_S)


class ContainedTransport(httpx2.AsyncBaseTransport):
    """Turns what goes wrong with one request into the answer to that request."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """The server's response, or one of ours in its place."""
        try:
            response = await self._inner.handle_async_request(request)
            return await _screened(request, response)
        except _NOT_SENT as error:
            return _failure(request, f"the server can't be reached: {_text(error)}", Trouble.UNREACHABLE)
        except httpx2.TransportError as error:
            return _failure(request, f"the connection broke: {_text(error)}", Trouble.LOST)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


async def _screened(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    is_json = response.headers.get("content-type", "").lower().startswith("application/json")
    if request.method != "POST" or (response.is_success and not is_json):
        return response  # a stream of events, which the client itself survives and resumes
    if response.status_code == HTTPStatus.NOT_FOUND and MCP_SESSION_ID in request.headers:
        await response.aclose()
        return _failure(request, "the server no longer knows the session", Trouble.FORGOTTEN)
    if is_json:
        return await _whole(request, response)
    await response.aclose()
    status = f"the server answered HTTP {response.status_code} {response.reason_phrase}".rstrip()
    if response.is_server_error:  # it, or a proxy before it, may have failed in mid-work
        return _failure(request, status, Trouble.LOST)
    return _answer(request, INTERNAL_ERROR, status, None) if response.is_client_error else response


async def _whole(request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
    """The response with its body read, so that a break in mid-body is noticed here."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            await response.aclose()
            return _failure(request, f"the answer is longer than {MAX_ANSWER_BYTES} bytes", Trouble.LOST)
    await response.aclose()
    return httpx2.Response(response.status_code, headers=response.headers, stream=httpx2.ByteStream(bytes(body)))


def _failure(request: httpx2.Request, message: str, kind: Trouble) -> httpx2.Response:
    return _answer(request, CONNECTION_CLOSED, message, {_TROUBLE: kind.value})


def _answer(request: httpx2.Request, code: int, message: str, data: dict[str, str] | None) -> httpx2.Response:
    error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=code, message=message, data=data))
    return httpx2.Response(
        HTTPStatus.BAD_GATEWAY,
        headers={"content-type": "application/json"},
        content=error.model_dump_json(),
        request=request,
    )


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
