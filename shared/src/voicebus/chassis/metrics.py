"""Prometheus metrics that every worker has. Times are in seconds, as Prometheus wants them."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

STAGE_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

sessions_held = Gauge("voicebus_sessions_held", "Sessions whose stage this worker owns", ["stage"], registry=REGISTRY)
sessions_capacity = Gauge("voicebus_sessions_capacity", "Sessions that it takes at most", ["stage"], registry=REGISTRY)
leases_lost = Counter(
    "voicebus_leases_lost_total", "Leases that another worker may have taken", ["stage"], registry=REGISTRY
)
mail_handled = Counter(
    "voicebus_mail_handled_total", "Mail that was worked on", ["stage", "outcome"], registry=REGISTRY
)
mail_seconds = Histogram(
    "voicebus_mail_seconds",
    "From taking a mail to its end",
    ["stage"],
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
