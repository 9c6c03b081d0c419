"""An agent model that needs no language model: it works from the tools' names, descriptions and schemas."""

from agent_worker.models.rules.model import explain, rules_model

__all__ = ["explain", "rules_model"]
