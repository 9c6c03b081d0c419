"""Prometheus metrics of the bus, and the registry that a process has. Times are in seconds."""

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector

from voicebus.contract.keys import STAGES

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)

round_trip_seconds = Histogram(
    "voicebus_bus_round_trip_seconds",
    "From sending a pipeline to Redis to its last reply",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=REGISTRY,
)
calls_sent = Counter("voicebus_bus_calls_total", "Commands sent to Redis, each time", registry=REGISTRY)
calls_repeated = Counter(
    "voicebus_bus_calls_repeated_total", "Commands that are sent again, since they got no answer", registry=REGISTRY
)
calls_failed = Counter(
    "voicebus_bus_calls_failed_total", "Commands that failed, by the code of the error", ["code"], registry=REGISTRY
)
subscriptions_lost = Counter(
    "voicebus_bus_subscriptions_lost_total", "Connections that stopped hearing what is published", registry=REGISTRY
)
mail_given_up = Counter(
    "voicebus_mail_given_up_total",
    "Mail that failed too often: it is among the dead letters, unless its turn was interrupted",
    ["stage"],
    registry=REGISTRY,
)

for _code in ("bus_unavailable", "bus_full", "internal"):
    calls_failed.labels(_code)
for _stage in STAGES:
    mail_given_up.labels(_stage)
