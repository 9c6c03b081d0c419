"""The two streams of messages that `mcp.Client` speaks over, and how their end becomes known.

`mcp.Client` keeps to itself that its incoming stream ended: it stays "connected" to a server that died, and only the
next call finds out. So we watch the stream on its way in, and each message before the client sees it.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self

from mcp.client._transport import (
    ReadStream,
    TransportStreams,
)  # what the public mcp.client.Transport is made of
from mcp.shared.message import SessionMessage

Streams = TransportStreams
Message = SessionMessage | Exception  # an exception stands for a line that was no message


@asynccontextmanager
async def watched(
    transport: AbstractAsyncContextManager[Streams],
    on_message: Callable[[Message], None],
    on_end: Callable[[], None],
) -> AsyncGenerator[Streams]:
    """The transport's streams.

    `on_message` gets each message that came in, and may change it; `on_end` is called when nothing more will come,
    before waiting calls fail.
    """
    async with transport as (incoming, outgoing):
        yield _Watched(incoming, on_message, on_end), outgoing


class _Watched:
    def __init__(
        self, inner: ReadStream[Message], on_message: Callable[[Message], None], on_end: Callable[[], None]
    ) -> None:
        self._inner = inner
        self._on_message = on_message
        self._on_end = on_end

    async def receive(self) -> Message:
        message = await self._inner.receive()
        self._on_message(message)
        return message

    async def aclose(self) -> None:
        await self._inner.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            message = await self._inner.__anext__()
        except BaseException:  # the end, a failure, a cancellation: each is the last that comes
            self._on_end()
            raise
        self._on_message(message)
        return message

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._inner.__aexit__(kind, error, trace)
