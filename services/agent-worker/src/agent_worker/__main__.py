"""Runs the agent worker: `python -m agent_worker`. SIGTERM hands its sessions over before it ends."""

import structlog

from agent_worker.agent import Agent
from agent_worker.models.choose import ModelChoiceError, choose_model, explainer
from agent_worker.respond import Responder
from agent_worker.settings import AgentSettings
from agent_worker.tools.config import ConfigError
from agent_worker.tools.toolset import Toolset, open_toolset
from voicebus.bus.bus import open_bus
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.chassis.service import run_process, run_worker

_log = structlog.get_logger(__name__)


async def work(settings: AgentSettings) -> None:
    """Answer turns until SIGTERM or SIGINT, then drain and return.

    Raises:
        ModelChoiceError: the model can't be used.
        ConfigError: the file of tool servers can't be used.
        OSError: the file of instructions can't be read.
    """
    model = choose_model(
        settings.agent_model,
        base_url=settings.agent_base_url,
        api_key=settings.agent_api_key.get_secret_value() or None,
    )
    instructions = settings.instructions()
    toolset = open_toolset(
        settings.tool_servers(), timeout_s=settings.agent_tool_timeout_s, ready_within_s=settings.agent_tools_ready_s
    )
    async with model, toolset as tools, open_bus(settings.bus()) as bus:
        servers = {status.name: status.error or f"{status.tools} tools" for status in tools.status()}
        _log.info("agent_ready", model=model.model_name, tool_servers=servers)
        agent = Agent(model, tools, settings, instructions, explainer(model))
        serve = mail_by_mail("agent", Responder(bus, agent).handle)
        await run_worker(
            bus,
            "agent",
            serve,
            settings=settings,
            capacity=settings.agent_sessions,
            details=lambda: {"model": model.model_name} | _tool_servers(tools),
        )


def _tool_servers(tools: Toolset) -> dict[str, str]:
    """Whether each can be called. Why not is in the log: an address in it may hold a secret."""
    return {f"mcp:{status.name}": f"up, {status.tools} tools" if status.up else "down" for status in tools.status()}


def main() -> None:
    """The process."""
    settings = AgentSettings()
    run_process("agent-worker", work(settings), settings=settings, unusable=(ModelChoiceError, ConfigError, OSError))


if __name__ == "__main__":
    main()
