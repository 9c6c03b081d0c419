"""The toolbox's process: serves the toolbox over stdio, or with `--http PORT` over HTTP."""

import argparse
from pathlib import Path

import uvicorn

from agent_worker.toolbox.server import build_server
from agent_worker.toolbox.settings import ToolboxSettings
from voicebus.chassis.starting import started

_FINISH_S = 3  # calls under way may take so long once the process shall go


def main() -> None:
    """Serve until standard input ends, or until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m agent_worker.toolbox", description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP at /mcp, and /livez")
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="for --http (127.0.0.1)")
    parser.add_argument("--families", type=Path, metavar="FILE", help="JSON file that families are kept in")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="JSON file with the tables to describe")
    arguments = parser.parse_args()
    given = {"families": arguments.families, "catalogue": arguments.catalogue}
    server = build_server(ToolboxSettings(**{name: path for name, path in given.items() if path is not None}))
    started()
    if arguments.http is None:
        server.run("stdio")
    else:
        app = server.streamable_http_app(host=arguments.host)
        # Clients hold a stream open that never ends by itself.
        uvicorn.run(
            app, host=arguments.host, port=arguments.http, log_level="warning", timeout_graceful_shutdown=_FINISH_S
        )
