"""Prometheus metrics that every service has, and every worker. Times are in seconds, as Prometheus wants them.

Labels are bounded: stages, codes, outcomes, never a session or a user.
"""

import platform
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from voicebus import __version__
from voicebus.bus import metrics as bus_metrics
from voicebus.contract.keys import Stage

REGISTRY = bus_metrics.REGISTRY
VERSION = __version__
STAGE_SECONDS_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

build_info = Gauge(
    "voicebus_build_info", "What runs here; always 1", ["service", "version", "python"], registry=REGISTRY
)
loop_lag_seconds = Histogram(
    "voicebus_event_loop_lag_seconds",
    "How much later than it should the event loop ran, looked at several times a second",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
bus_deaf = Gauge("voicebus_bus_deaf", "Whether published messages may not arrive (1) or do (0)", registry=REGISTRY)

sessions_held = Gauge("voicebus_sessions_held", "Sessions whose stage this worker owns", ["stage"], registry=REGISTRY)
sessions_capacity = Gauge("voicebus_sessions_capacity", "Sessions that it takes at most", ["stage"], registry=REGISTRY)
leases = Counter("voicebus_leases_total", "Sessions whose stage this worker got", ["stage"], registry=REGISTRY)
takeovers = Counter(
    "voicebus_takeovers_total", "Leases of which the last owner fell silent", ["stage"], registry=REGISTRY
)
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


class Tally(Collector):
    """A counter for what happens tens of thousands of times a second: it costs an addition, and is for one thread."""

    def __init__(self, name: str, documentation: str) -> None:
        self.count = 0
        self._name = name
        self._documentation = documentation
        REGISTRY.register(self)

    def collect(self) -> Iterable[Metric]:
        """As Prometheus wants it."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.count)


class StageMetrics:
    """The metrics of one stage's worker, looked up once: they are there before anything has happened."""

    def __init__(self, stage: Stage) -> None:
        self.held = sessions_held.labels(stage)
        self.capacity = sessions_capacity.labels(stage)
        self.leases = leases.labels(stage)
        self.takeovers = takeovers.labels(stage)
        self.leases_lost = leases_lost.labels(stage)


def note_build(service: str) -> None:
    """Says what runs in this process."""
    build_info.labels(service, VERSION, platform.python_version()).set(1)
