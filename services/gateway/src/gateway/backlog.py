"""Watches what waits for workers, who they are, and how Redis is; for admission, `/ai/health` and the metrics."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway import metrics
from voicebus.bus.backlog import Backlog
from voicebus.bus.bus import Bus
from voicebus.bus.presence import LivingWorker
from voicebus.bus.redis_info import RedisInfo
from voicebus.chassis.metrics import REGISTRY
from voicebus.contract.errors import BusUnavailable, VoicebusError
from voicebus.contract.keys import STAGES, Stage

_log = structlog.get_logger(__name__)
LOOK_EVERY_S = 1.0
SILENT_S = 8.0  # two announcements of a worker are missing
_LOOK_S = 3.0  # how long one look may take
_INFO_EVERY = 5  # looks
_LOOKED_AT = (metrics.backlog_sessions, metrics.backlog_oldest, metrics.dead_letters, metrics.workers)
_NOTHING: Mapping[Stage, Backlog] = {stage: Backlog() for stage in STAGES}


class BacklogWatch:
    """Looks once a second. `run` must be running."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.stages: Mapping[Stage, Backlog] = _NOTHING  # as of the last look; nothing waits while Redis is away
        self.workers: list[LivingWorker] | None = None  # None: not known

    async def run(self) -> None:
        """Looks until cancelled."""
        looks = 0
        try:
            while True:
                try:
                    async with asyncio.timeout(_LOOK_S):
                        await self._look(with_info=looks % _INFO_EVERY == 0)
                except (VoicebusError, TimeoutError) as error:
                    self._see_nothing(error)
                looks += 1
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            redis_servers.forget()

    async def _look(self, *, with_info: bool) -> None:
        stages = await self._bus.backlog()
        self.workers = await self._bus.presence.workers()
        self.stages = {stage: _with_what_waits_inside(stage, stages[stage], self.workers) for stage in STAGES}
        for stage, backlog in self.stages.items():
            metrics.backlog_sessions.labels(stage).set(backlog.waiting)
            metrics.backlog_oldest.labels(stage).set(backlog.oldest_s)
            metrics.dead_letters.labels(stage).set(backlog.dead)
            metrics.workers.labels(stage).set(sum(worker.state.stage == stage for worker in self.workers))
        if with_info or not redis_servers.known:
            redis_servers.note(await self._bus.redis_info())

    def _see_nothing(self, error: Exception) -> None:
        if self.workers is not None:
            reason = error.message if isinstance(error, VoicebusError) else BusUnavailable().message
            _log.warning("backlog_unknown", reason=reason)
        self.stages, self.workers = _NOTHING, None
        for gauge in _LOOKED_AT:
            gauge.clear()
        redis_servers.lose()


def _with_what_waits_inside(stage: Stage, backlog: Backlog, workers: Sequence[LivingWorker]) -> Backlog:
    """What workers have taken and not begun is late, too, if each is full: new work finds the one that isn't."""
    serving = [each for each in workers if each.state.stage == stage and each.state.status == "ready"]
    waited_s = min((worker.state.waited_s for worker in serving if worker.age_s < SILENT_S), default=0.0)
    return replace(backlog, oldest_s=max(backlog.oldest_s, waited_s))


_GAUGES = {
    "used_memory": ("voicebus_redis_memory_used_bytes", "Memory that Redis uses"),
    "maxmemory": ("voicebus_redis_memory_max_bytes", "Memory that Redis may use; 0: as much as there is"),
    "connected_clients": ("voicebus_redis_connected_clients", "Connections to Redis"),
    "aof_enabled": ("voicebus_redis_aof_enabled", "Whether Redis writes an append-only file"),
    "uptime_in_seconds": ("voicebus_redis_uptime_seconds", "How long Redis has run"),
}
_COUNTERS = {
    "total_commands_processed": ("voicebus_redis_commands_processed", "Commands that Redis ran"),
    "evicted_keys": ("voicebus_redis_evicted_keys", "Keys that Redis dropped for want of memory; must stay 0"),
    "aof_delayed_fsync": ("voicebus_redis_aof_delayed_fsyncs", "Writes of the file that the disk held up"),
}


class RedisServers(Collector):
    """Redis's own figures, as the last look found them."""

    def __init__(self) -> None:
        self._infos: Mapping[str, RedisInfo] = {}
        self._answering = True

    @property
    def known(self) -> bool:
        """Whether the figures are those of now."""
        return bool(self._infos) and self._answering

    def note(self, infos: Mapping[str, RedisInfo]) -> None:
        """Every server has answered."""
        self._infos, self._answering = infos, True

    def lose(self) -> None:
        """One does not answer."""
        self._answering = False

    def forget(self) -> None:
        """Nobody looks any more."""
        self._infos, self._answering = {}, True

    def collect(self) -> Iterable[Metric]:
        """The metrics, by server."""
        up = GaugeMetricFamily("voicebus_redis_up", "Whether all of Redis answers (1) or not (0)")
        up.add_metric([], float(self._answering))
        yield up
        if self._answering:
            yield from _figures(self._infos)


def _figures(infos: Mapping[str, RedisInfo]) -> Iterable[Metric]:
    for field, (name, text) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, text, labels=["server"])
        for server, info in infos.items():
            gauge.add_metric([server], float(info.get(field, 0)))
        yield gauge
    for field, (name, text) in _COUNTERS.items():
        counter = CounterMetricFamily(name, text, labels=["server"])
        for server, info in infos.items():
            counter.add_metric([server], float(info.get(field, 0)))
        yield counter
    written = GaugeMetricFamily(
        "voicebus_redis_aof_last_write_ok", "Whether the last write of the file worked", labels=["server"]
    )
    keys = GaugeMetricFamily("voicebus_redis_keys", "Keys, in all databases", labels=["server"])
    for server, info in infos.items():
        written.add_metric([server], float(info.get("aof_last_write_status", "ok") == "ok"))
        keys.add_metric([server], _keys(info))
    yield from (written, keys)


def _keys(info: RedisInfo) -> float:
    """Of `db0:keys=12,expires=3,avg_ttl=0` and its like."""
    databases = [text for field, text in info.items() if field.startswith("db") and field[2:].isdigit()]
    return sum(int(text.split(",")[0].removeprefix("keys=")) for text in databases)


redis_servers = RedisServers()
REGISTRY.register(redis_servers)
