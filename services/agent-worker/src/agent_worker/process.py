"""The process of the agent worker. SIGTERM hands its sessions over before it ends."""

import asyncio
from collections.abc import Awaitable, Callable

from agent_worker.models.errors import ModelChoiceError
from agent_worker.settings import AgentSettings
from agent_worker.tools.config import ConfigError
from agent_worker.tools.toolset import Toolset, open_toolset
from voicebus.chassis.process import run_process

Answer = Callable[[AgentSettings, Toolset], Awaitable[None]]


async def work(settings: AgentSettings) -> None:
    """Start the tool servers and import the models' library, both of which take a second, and answer turns.

    Raises:
        ModelChoiceError: the model can't be used.
        ConfigError: the file of tool servers can't be used.
        OSError: the file of instructions can't be read.
    """
    toolset = open_toolset(
        settings.tool_servers(), timeout_s=settings.agent_tool_timeout_s, ready_within_s=settings.agent_tools_ready_s
    )
    async with asyncio.TaskGroup() as tasks:
        loading = tasks.create_task(asyncio.to_thread(_load))
        async with toolset as tools:
            answer_turns = await loading
            await answer_turns(settings, tools)


def _load() -> Answer:
    from agent_worker.answering import answer_turns  # noqa: PLC0415 - meanwhile tool servers start

    return answer_turns


def main() -> None:
    """The process."""
    settings = AgentSettings()
    run_process("agent-worker", work(settings), settings=settings, unusable=(ModelChoiceError, ConfigError, OSError))
