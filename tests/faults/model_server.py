"""A language model with a script, behind a server with OpenAI's chat completions.

It looks at a clock, adds two numbers, and then tells something in several sentences; or it says what it was asked to
say. What it says does not depend on what the tools answered, so that turns can be compared; what it was told stands in
`requests`.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from faults.served import served
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

CITY: Final = "oslo"
SUM: Final = "19 23"
BETWEEN_S: Final = 0.03  # two pieces of text: longer than the agent collects them
SAY: Final = "say: "  # what follows, in pieces with bars between
Delta = dict[str, Any]
Mood = Literal["well", "failing", "silent", "deadly"]


def _text(*pieces: str) -> list[Delta]:
    return [{"role": "assistant", "content": piece} for piece in pieces]


def _call(name: str, **arguments: object) -> list[Delta]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return [{"tool_calls": [{"index": 0, "id": f"call_{name}", "type": "function", "function": function}]}]


_STEPS: Final = (
    [*_text("Let me look ", "at the clock. "), *_call("current_time", city=CITY)],
    [*_text("And now the sum. "), *_call("add", a=19, b=23)],
    _text("That is all I know. ", "The clock on the tower ", "agrees with it. ", "A bird sits on its hand. ", "Bye."),
)


class ModelServer:
    """`moods` says how it answers to questions with these words in them; while `may_answer` is cleared it thinks."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[dict[str, Any]] = []
        self.moods: dict[str, Mood] = {}
        self.kill: Callable[[str], Awaitable[None]] | None = None  # what happens to who asks a deadly question
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        """For AGENT_BASE_URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def complete(self, request: Request) -> Response:
        """One response."""
        body = await request.json()
        self.requests.append(body)
        question = next(message["content"] for message in reversed(body["messages"]) if message["role"] == "user")
        mood = next((mood for words, mood in self.moods.items() if words in question), "well")
        if mood == "failing":
            return JSONResponse({"error": {"message": "out of order"}}, 500)
        if mood == "deadly" and self.kill:
            await self.kill(question)
        if mood != "well":
            await _until_gone(request)
        await self.may_answer.wait()
        said = question.removeprefix(SAY).split("|") if question.startswith(SAY) else None
        return StreamingResponse(_chunks(_text(*said) if said else _STEPS[_done(body)]), media_type="text/event-stream")


async def _until_gone(request: Request) -> None:
    while not await request.is_disconnected():  # noqa: ASYNC110 - it is to be asked
        await asyncio.sleep(0.05)


def _done(body: dict[str, Any]) -> int:
    """How many tool calls of the turn have been answered."""
    count = 0
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            break
        count += message["role"] == "tool"
    return count


async def _chunks(deltas: list[Delta]) -> AsyncIterator[str]:
    for delta in deltas:
        yield _event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        await asyncio.sleep(BETWEEN_S)
    reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
    yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    yield _event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}})
    yield "data: [DONE]\n\n"


def _event(fields: Delta) -> str:
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "local", **fields}
    return f"data: {json.dumps(chunk)}\n\n"


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """It answers."""
    made = ModelServer()
    async with served(Starlette(routes=[Route("/v1/chat/completions", made.complete, methods=["POST"])])) as made.port:
        yield made
