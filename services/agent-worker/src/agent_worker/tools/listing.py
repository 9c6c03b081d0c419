"""Answers to `tools/list`, rid of the tools that are none.

`mcp.Client` refuses a whole listing for one tool with a bad schema. So the tools are checked one by one on their way
in, as the protocol has them in the negotiated version.
"""

from collections.abc import Callable
from typing import Any

from mcp.types import JSONRPCResponse, Tool
from mcp.types.methods import validate_server_result
from pydantic import ValidationError

from agent_worker.tools.streams import Message

_METHOD = "tools/list"


def drop_bad_tools(message: Message, version: str, on_bad: Callable[[str, str], None]) -> None:
    """Take the tools that do not validate out of a listing, in place; any other message stays as it is.

    `on_bad` gets the name of each and what is wrong with it.
    """
    if isinstance(message, Exception) or not isinstance(message.message, JSONRPCResponse):
        return
    result = message.message.result
    tools = result.get("tools")
    if not isinstance(tools, list) or _fault(result | {"tools": []}, version):
        return
    kept: list[Any] = []
    for tool in tools:
        if fault := _fault(result | {"tools": [tool]}, version):
            on_bad(str(tool.get("name", "")) if isinstance(tool, dict) else "", fault)
        else:
            kept.append(tool)
    result["tools"] = kept


def _fault(result: dict[str, Any], version: str) -> str:
    """What is wrong with a listing; empty for a good one."""
    try:
        validate_server_result(_METHOD, version, result)
        for tool in result["tools"]:
            Tool.model_validate(tool, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""
