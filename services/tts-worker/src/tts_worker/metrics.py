"""Prometheus metrics of the TTS worker, beside those that every worker has."""

from prometheus_client import Counter, Histogram

from voicebus.chassis.metrics import REGISTRY, STAGE_SECONDS_BUCKETS

first_chunk_seconds = Histogram(
    "voicebus_tts_first_chunk_seconds",
    "From taking a sentence to its first speech in the stream",
    buckets=STAGE_SECONDS_BUCKETS,
    registry=REGISTRY,
)
speech_seconds = Counter("voicebus_tts_speech_seconds_total", "Speech that was emitted", registry=REGISTRY)
failures = Counter("voicebus_tts_failures_total", "Syntheses that failed", registry=REGISTRY)
