"""The agent stage at work: a model, tools and the bus."""

import structlog

from agent_worker.agent import Agent
from agent_worker.models.choose import choose_model, explainer
from agent_worker.respond import Responder
from agent_worker.settings import AgentSettings
from agent_worker.tools.toolset import Toolset
from voicebus.bus.bus import open_bus
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.chassis.service import run_worker

_log = structlog.get_logger(__name__)


async def answer_turns(settings: AgentSettings, tools: Toolset) -> None:
    """Answer turns until SIGTERM or SIGINT, then drain and return.

    Raises:
        ModelChoiceError: the model can't be used.
        OSError: the file of instructions can't be read.
    """
    model = choose_model(
        settings.agent_model,
        base_url=settings.agent_base_url,
        api_key=settings.agent_api_key.get_secret_value() or None,
    )
    instructions = settings.instructions()
    async with model, open_bus(settings.bus()) as bus:
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
