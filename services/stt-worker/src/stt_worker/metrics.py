"""Prometheus metrics of the STT worker, beside those that every worker has."""

from prometheus_client import Counter, Gauge, Histogram

from voicebus.chassis.metrics import REGISTRY, STAGE_SECONDS_BUCKETS

final_seconds = Histogram(
    "voicebus_stt_final_seconds",
    "From the arrival of the last speech to the final transcript",
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
utterances = Counter(
    "voicebus_stt_utterances_total", "Utterances by what became of them", ["outcome"], registry=REGISTRY
)
engine_load = Gauge(
    "voicebus_stt_engine_load",
    "Utterances being decoded or waiting for it, per utterance that can be decoded in real time",
    registry=REGISTRY,
)
