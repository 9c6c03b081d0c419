"""The toolbox: an MCP server with what an assistant is asked for first."""

from mcp.server.mcpserver import MCPServer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from agent_worker.toolbox.arithmetic import add_arithmetic
from agent_worker.toolbox.catalogue import add_catalogue, read_catalogue
from agent_worker.toolbox.clock import add_clock
from agent_worker.toolbox.families import add_families
from agent_worker.toolbox.family_store import FamilyStore
from agent_worker.toolbox.settings import ToolboxSettings
from agent_worker.toolbox.tales import add_tales


def build_server(settings: ToolboxSettings) -> MCPServer:
    """The server with all tools; nothing is opened or written before a tool is called, but the catalogue is read.

    Raises:
        OSError: the catalogue can't be read.
        ValidationError: the catalogue is not one.

    """
    server = MCPServer(
        "toolbox", instructions="Time and date in cities, arithmetic, families, a data catalogue, facts and stories.",
        log_level="WARNING",
    )  # fmt: skip
    add_clock(server)
    add_arithmetic(server)
    add_families(server, FamilyStore(settings.families_path))
    add_catalogue(server, read_catalogue(settings.catalogue))
    add_tales(server)
    server.custom_route("/livez", methods=["GET"])(_livez)
    return server


async def _livez(_: Request) -> Response:
    return PlainTextResponse("ok\n")
