"""A server with OpenAI's chat completions, as llama.cpp, vLLM or Ollama have them, on loopback."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from voicebus.chassis.health import QuietServer

MALFORMED = {  # what these models answer first
    "odd-choices": ("text/event-stream", 'data: {"choices": "x"}\n\n'),
    "odd-choice": ("text/event-stream", 'data: {"choices": [{"index": 0, "delta": "x"}]}\n\n'),
    "no-choices": ("text/event-stream", 'data: {"choices": null}\n\n'),
    "odd-chunk": ("text/event-stream", "data: [1, 2]\n\n"),
    "no-json": ("text/event-stream", "data: {hello\n\n"),
    "html": ("text/html", "<html>Bad gateway</html>"),
}


@dataclass
class CompletionsServer:
    """Its models call a tool, `note` by that name and `add` for the others, and then tell the result."""

    port: int
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.keys.append(request.headers.get("authorization", ""))
        asked = sum(earlier["model"] == body["model"] for earlier in self.requests)
        match body["model"]:
            case "missing":
                return JSONResponse({"error": {"message": "no such model", "type": "invalid_request_error"}}, 404)
            case "busy" if asked == 1:
                return JSONResponse({"error": {"message": "slow down"}}, 429, headers={"retry-after": "0"})
            case "cut" if asked == 1:
                return StreamingResponse(_chunks(_text("Half of an"), end=False), media_type="text/event-stream")
        if asked == 1 and body["model"] in MALFORMED:
            media_type, content = MALFORMED[body["model"]]
            return Response(content, media_type=media_type)
        last = body["messages"][-1]
        if last["role"] == "tool":
            deltas = _text("It is ", last["content"], ".")
        elif body["model"] == "note":
            deltas = _call("note", '{"text"', ': "hello"}')
        else:
            deltas = _call("add", '{"a"', ": 40,", ' "b": 2}')
        return StreamingResponse(_chunks(deltas), media_type="text/event-stream")


def _text(*pieces: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": piece} for piece in pieces]


def _call(name: str, *pieces: str) -> list[dict[str, Any]]:
    opening = {"index": 0, "id": "call_7", "type": "function", "function": {"name": name, "arguments": ""}}
    return [
        {"role": "assistant", "content": None, "tool_calls": [opening]},
        *({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces),
    ]


async def _chunks(deltas: list[dict[str, Any]], *, end: bool = True) -> AsyncIterator[str]:
    for delta in deltas:
        yield _event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        await asyncio.sleep(0.03)
    if not end:
        raise ConnectionResetError
    reason = "tool_calls" if "tool_calls" in deltas[-1] else "stop"
    yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    yield _event({"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}})
    yield "data: [DONE]\n\n"


def _event(fields: dict[str, Any]) -> str:
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "local", **fields}
    return f"data: {json.dumps(chunk)}\n\n"


@asynccontextmanager
async def completions_server() -> AsyncIterator[CompletionsServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    fake = CompletionsServer(listener.getsockname()[1])
    app = Starlette(routes=[Route("/v1/chat/completions", fake.complete, methods=["POST"])])
    server = QuietServer(uvicorn.Config(app, log_config=None, lifespan="off"))
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve([listener]))
        try:
            yield fake
        finally:
            server.should_exit = True
            await serving
