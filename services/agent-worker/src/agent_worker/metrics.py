"""Prometheus metrics of the agent worker, beside those that every worker has."""

from prometheus_client import Counter, Gauge, Histogram

from voicebus.chassis.metrics import REGISTRY, STAGE_SECONDS_BUCKETS

_TOOLS_MOST = 50  # with a label of their own

first_token_seconds = Histogram(
    "voicebus_agent_first_token_seconds",
    "From taking a turn to its first token",
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
turn_seconds = Histogram(
    "voicebus_agent_turn_seconds",
    "From taking a turn to its whole answer",
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
model_seconds = Histogram(
    "voicebus_agent_model_seconds",
    "From asking the model to its whole response",
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
model_failures = Counter("voicebus_agent_model_failures_total", "Model responses that failed", registry=REGISTRY)
tool_calls = Counter("voicebus_agent_tool_calls_total", "Tool calls that ended", ["outcome"], registry=REGISTRY)
tool_seconds = Histogram(
    "voicebus_agent_tool_seconds",
    "Duration of tool calls; tools beyond the first fifty are `other`",
    ["tool"],
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
model_tokens = Counter(
    "voicebus_agent_model_tokens_total", "Tokens that the model counted", ["direction"], registry=REGISTRY
)
tool_server_up = Gauge(
    "voicebus_agent_tool_server_up", "Whether an MCP server can be called (1) or not (0)", ["server"], registry=REGISTRY
)

_tools: dict[str, Histogram] = {}

for _outcome in ("ok", "error", "unknown", "cancelled"):
    tool_calls.labels(_outcome)


def seconds_of(tool: str, *, known: bool) -> Histogram:
    """Where the calls of this tool are counted: a model may make names up, and servers may have any number of them."""
    name = tool if known and (tool in _tools or len(_tools) < _TOOLS_MOST) else "other"
    return _tools.setdefault(name, tool_seconds.labels(name))
