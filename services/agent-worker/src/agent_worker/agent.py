"""What answers the turns."""

from dataclasses import dataclass, field

from pydantic_ai.models import Model

from agent_worker.beat import Beat
from agent_worker.models.choose import Explain
from agent_worker.settings import AgentSettings
from agent_worker.tools.toolset import Toolset


@dataclass(frozen=True)
class Agent:
    """A model with its tools and instructions."""

    model: Model
    tools: Toolset
    settings: AgentSettings
    instructions: str
    explain: Explain | None = None  # tells the intent, for models that know it
    beat: Beat = field(default_factory=Beat)  # of its answers
