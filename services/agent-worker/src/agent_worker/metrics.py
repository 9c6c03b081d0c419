"""Prometheus metrics of the agent worker, beside those that every worker has."""

from prometheus_client import Counter, Gauge, Histogram

from voicebus.chassis.metrics import REGISTRY, STAGE_SECONDS_BUCKETS

first_token_seconds = Histogram(
    "voicebus_agent_first_token_seconds",
    "From taking a turn to its first token",
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
model_failures = Counter("voicebus_agent_model_failures_total", "Model responses that failed", registry=REGISTRY)
tool_calls = Counter("voicebus_agent_tool_calls_total", "Tool calls that ended", ["outcome"], registry=REGISTRY)
tool_seconds = Histogram(
    "voicebus_agent_tool_seconds", "Duration of tool calls", buckets=STAGE_SECONDS_BUCKETS, registry=REGISTRY
)
model_tokens = Counter(
    "voicebus_agent_model_tokens_total", "Tokens that the model counted", ["direction"], registry=REGISTRY
)
tool_server_up = Gauge(
    "voicebus_agent_tool_server_up", "Whether an MCP server can be called (1) or not (0)", ["server"], registry=REGISTRY
)
