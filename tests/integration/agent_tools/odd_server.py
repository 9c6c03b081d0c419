"""An MCP server some of whose tools are none: `python odd_server.py PROTOCOL_VERSION FOLDER`.

It appends a line to FOLDER/starts when it starts.
"""

import json
import sys
from pathlib import Path
from typing import Any

version, folder = sys.argv[1], Path(sys.argv[2])
PLAIN = {"type": "object"}
TOOLS: list[Any] = [
    {"name": "first", "inputSchema": PLAIN},
    {"name": "empty", "inputSchema": {}},
    {"name": "nullable", "inputSchema": {"type": ["object", "null"]}},
    {"name": "numbered", "inputSchema": {"type": "object", "required": ["a", 5]}},
    {"name": "bare"},
    {"inputSchema": PLAIN},
    "nothing",
    {"name": "last", "description": "Is good.", "inputSchema": PLAIN},
]


def result(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    match method:
        case "initialize":
            server = {"name": "odd", "version": "1"}
            return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return {"content": [{"type": "text", "text": f"{params['name']} works"}]}
        case _:
            return None


with (folder / "starts").open("a") as starts:
    starts.write("started\n")
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        found = result(message["method"], message.get("params") or {})
        answer = {"error": {"code": -32601, "message": "Method not found"}} if found is None else {"result": found}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)
