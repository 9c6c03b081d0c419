"""A client of server-sent events, as browsers read them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
from support.processes import RunningGateway, bearer_of

Message = dict[str, Any]


@dataclass
class EventSource:
    """One stream. `last_id` is what a browser would come back with."""

    answer: httpx2.Response
    lines: AsyncIterator[str]
    last_id: str = ""
    seen: list[Message] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)  # of the messages seen, '' for those without one

    async def receive(self) -> Message | None:
        """The next message; None at the stream's end."""
        own, data = "", ""
        while (line := await self._line()) is not None:
            name, _, value = line.partition(": ")
            if name == "id":
                own = self.last_id = value
            elif name == "data":
                data += value
            elif not line and data:
                self.seen.append(json.loads(data))
                self.ids.append(own)
                return self.seen[-1]
            elif not line:
                own = ""
            elif line != ":":
                raise ValueError(line)
        return None

    async def _line(self) -> str | None:
        async with asyncio.timeout(20):
            return await anext(self.lines, None)

    async def until(self, kind: str) -> Message:
        """Receives until a message has this type; returns that one."""
        while (message := await self.receive()) is not None:
            if message["type"] == kind:
                return message
        raise EOFError(kind)

    async def rest(self) -> list[Message]:
        """What comes until the stream ends."""
        rest = []
        while (message := await self.receive()) is not None:
            rest.append(message)
        return rest

    async def comment(self) -> None:
        """Receives a comment, before which there is no message."""
        while (line := await self._line()) != ":":
            assert not (line or "").startswith("data")

    async def joined(self) -> None:
        """Receives the place at the stream's beginning: from here on nothing is missed."""
        while not self.last_id:
            line = await self._line()
            assert line is not None
            self.last_id = line.removeprefix("id: ") if line.startswith("id: ") else ""


@asynccontextmanager
async def event_source(
    gateway: RunningGateway, session_id: str, query: str = "", *, last_id: str = "", **options: Any
) -> AsyncIterator[EventSource]:
    """A stream of the session's events, as Alice."""
    headers = options.pop("headers", bearer_of("alice")) | {"Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    url = f"{gateway.url}/ai/sessions/{session_id}/events{query}"
    async with (
        httpx2.AsyncClient(headers=headers, timeout=20, **options) as http,
        http.stream("GET", url) as answer,
    ):
        yield EventSource(answer, answer.aiter_lines())
