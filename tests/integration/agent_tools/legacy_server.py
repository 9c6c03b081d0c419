"""An MCP server of the handshake era, written without an SDK: `python legacy_server.py stdio|http FOLDER`.

It knows `initialize`, `tools/list` and `tools/call` of protocol 2025-06-18 and no annotations. Over HTTP it keeps
sessions, and forgets them all when the file FOLDER/forget exists.
"""

import itertools
import json
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

transport, folder = sys.argv[1], Path(sys.argv[2])
tools = ["count"]
calls = itertools.count(1)
sessions: set[str] = set()
Message = dict[str, Any]


def answer(message: Message) -> Message | None:
    if "id" not in message:
        return None
    handler = {"initialize": initialize, "tools/list": list_tools, "tools/call": call}.get(message["method"])
    if handler is None:
        error = {"code": -32601, "message": "Method not found"}
        return {"jsonrpc": "2.0", "id": message["id"], "error": error}
    return {"jsonrpc": "2.0", "id": message["id"], "result": handler(message.get("params") or {})}


def initialize(_: Message) -> Message:
    return {
        "protocolVersion": "2025-06-18",
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "legacy", "version": "1"},
    }


def list_tools(_: Message) -> Message:
    return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in tools]}


def call(params: Message) -> Message:
    if params["name"] == "count":
        tools.append("late")
    return {"content": [{"type": "text", "text": f"call {next(calls)}"}]}


def serve_stdio() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None:
            write(json.dumps(reply))
        if message["method"] == "tools/call":
            write("this line is no message")
            write('{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}')


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def endpoint(request: Request) -> Response:
    if request.method != "POST":
        return Response(status_code=405)
    message = await request.json()
    session = request.headers.get("mcp-session-id")
    forget = folder / "forget"
    if forget.exists():
        sessions.clear()
        forget.unlink()
    if session is not None and session not in sessions:
        return Response("no such session", status_code=404)
    headers = {}
    if message["method"] == "initialize":
        session = f"session-{next(calls)}"
        sessions.add(session)
        headers = {"mcp-session-id": session}
    elif session is None:
        return JSONResponse({"detail": "a session is required"}, status_code=400)
    reply = answer(message)
    return JSONResponse(reply, headers=headers) if reply else Response(status_code=202)


def serve_http() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    (folder / "port").write_text(str(listener.getsockname()[1]))
    app = Starlette(routes=[Route("/mcp", endpoint, methods=["GET", "POST", "DELETE"])])
    uvicorn.Server(uvicorn.Config(app, fd=listener.fileno(), log_level="warning")).run()


if __name__ == "__main__":
    serve_stdio() if transport == "stdio" else serve_http()
