"""The agent worker's settings; the only place where it reads the environment."""

import os
from pathlib import Path

from pydantic import Field, SecretStr

from agent_worker.tools.config import ServerConfig, default_servers, read_servers
from voicebus.chassis.settings import ServiceSettings

_INSTRUCTIONS = (
    "You are a helpful assistant in a conversation that may be spoken aloud. Answer briefly and plainly, in whole "
    "sentences, without markup. Use the tools when they help; ask when something you need is missing. When the outcome "
    "of a tool call is unknown, say so, and call it again only if the user wants that."
)


class AgentSettings(ServiceSettings):
    """Read from environment variables of the same names in capitals."""

    agent_model: str = "rules"  # rules, instant, openai:<model>, or another name of pydantic-ai
    agent_base_url: str | None = None  # of an OpenAI-compatible server, with its /v1
    agent_api_key: SecretStr = SecretStr("")
    agent_instructions: str = _INSTRUCTIONS
    agent_instructions_file: Path | None = None  # goes before agent_instructions
    agent_max_steps: int = Field(default=12, ge=1)  # model responses in one turn
    agent_model_attempts: int = Field(default=4, ge=1)  # at one model response
    agent_first_token_timeout_s: float = Field(default=30.0, gt=0)
    agent_response_timeout_s: float = Field(default=180.0, gt=0)
    agent_sessions: int = Field(default=200, ge=1)  # that the worker holds at most
    agent_parallel_tools: int = Field(default=8, ge=1)  # in one turn
    agent_tool_timeout_s: float = Field(default=30.0, gt=0)  # where the server's configuration says nothing else
    agent_approval_timeout_s: float = Field(default=300.0, gt=0, le=30 * 86_400)  # how long a call waits for a person
    agent_tools_ready_s: float = Field(default=5.0, ge=0)  # how long the start waits for the tool servers
    mcp_config: Path | None = None  # an mcpServers file; without one the toolbox is used

    def instructions(self) -> str:
        """What the model is told before each conversation.

        Raises:
            OSError: the file can't be read.
        """
        path = self.agent_instructions_file
        return self.agent_instructions if path is None else path.read_text(encoding="utf-8").strip()

    def tool_servers(self) -> tuple[ServerConfig, ...]:
        """The MCP servers to use.

        Raises:
            ConfigError: the file can't be used.
        """
        return default_servers(os.environ) if self.mcp_config is None else read_servers(self.mcp_config, os.environ)
