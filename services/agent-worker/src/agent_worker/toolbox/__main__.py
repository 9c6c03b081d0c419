"""`python -m agent_worker.toolbox`: serves the toolbox over stdio, or with `--http PORT` over HTTP on loopback."""

import argparse
from pathlib import Path

from agent_worker.toolbox.server import build_server
from agent_worker.toolbox.settings import ToolboxSettings


def main() -> None:
    """Serve until standard input ends, or until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m agent_worker.toolbox", description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP on 127.0.0.1 at /mcp")
    parser.add_argument("--families", type=Path, metavar="FILE", help="JSON file that families are kept in")
    parser.add_argument("--catalogue", type=Path, metavar="FILE", help="JSON file with the tables to describe")
    arguments = parser.parse_args()
    given = {"families": arguments.families, "catalogue": arguments.catalogue}
    server = build_server(ToolboxSettings(**{name: path for name, path in given.items() if path is not None}))
    if arguments.http is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=arguments.http)


if __name__ == "__main__":
    main()
