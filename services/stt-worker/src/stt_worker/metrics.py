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
real_time_factor = Histogram(
    "voicebus_stt_real_time_factor",
    "Time that an utterance's decoding took, per time that it sounded",
    buckets=(0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 5.0),
    registry=REGISTRY,
)
engine_load = Gauge(
    "voicebus_stt_engine_load",
    "Utterances being decoded or waiting for it, per utterance that can be decoded in real time",
    registry=REGISTRY,
)

for _outcome in ("ok", "not_understood", "failed", "given_up"):
    utterances.labels(_outcome)
