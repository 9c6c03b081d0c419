"""What the gateway counts, beside what every service has. Times are in seconds.

Series that alerts look at are there before anything has happened, so that their first increase is seen.
"""

from prometheus_client import Counter, Gauge, Histogram

from voicebus.chassis.metrics import REGISTRY, Tally
from voicebus.contract.close import Close
from voicebus.contract.errors import ERRORS
from voicebus.contract.keys import STAGES

connections = Gauge("voicebus_connections", "Open WebSocket connections", registry=REGISTRY)
streams = Gauge("voicebus_event_streams", "Open streams of server-sent events", registry=REGISTRY)
opened = Counter("voicebus_connections_opened_total", "Connections that were let in", registry=REGISTRY)
closed = Counter(
    "voicebus_connections_closed_total",
    "Connections by their close code; `client`: the other side ended it",
    ["code"],
    registry=REGISTRY,
)
sent = Tally("voicebus_frames_sent_total", "Events and speech chunks sent to clients")
received = Tally("voicebus_frames_received_total", "Messages and audio frames of clients")
refused = Counter("voicebus_refusals_total", "Messages, requests and connections refused", ["code"], registry=REGISTRY)
auth_failures = Counter(
    "voicebus_auth_failures_total", "Requests and connections whose token was not accepted", ["code"], registry=REGISTRY
)
replays = Counter("voicebus_replays_total", "Connections that went on from a position", registry=REGISTRY)
replayed = Counter("voicebus_replayed_events_total", "Events that these had missed", registry=REGISTRY)
gaps = Counter("voicebus_gaps_total", "Ranges that could not be replayed", ["stream", "reason"], registry=REGISTRY)
fell_behind = Counter(
    "voicebus_slow_clients_total",
    "Times that a client's queue overflowed: from then on it is served from the log",
    registry=REGISTRY,
)

turn_seconds = Histogram(
    "voicebus_turn_seconds",
    "From a user's last speech, or text, to a part of the answer, both seen by this gateway on one connection",
    ["input", "part"],
    buckets=(0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0),
    registry=REGISTRY,
)

backlog_sessions = Gauge("voicebus_backlog_sessions", "Sessions that wait for a worker", ["stage"], registry=REGISTRY)
backlog_oldest = Gauge(
    "voicebus_backlog_oldest_seconds",
    "How long the oldest of their mail has waited, or what full workers have taken",
    ["stage"],
    registry=REGISTRY,
)
dead_letters = Gauge("voicebus_dead_letters", "Dead letters that are kept", ["stage"], registry=REGISTRY)
workers = Gauge("voicebus_workers", "Workers that say that they live", ["stage"], registry=REGISTRY)

_TOKEN_CODES = ("token_missing", "token_invalid", "token_expired", "token_revoked", "keys_unavailable")

for _code in ("client", *map(int, Close)):
    closed.labels(_code)
for _code in ERRORS:
    refused.labels(_code)
for _code in _TOKEN_CODES:
    auth_failures.labels(_code)
for _stream in ("events", "speech"):
    for _reason in ("trimmed", "epoch_changed", "ahead"):
        gaps.labels(_stream, _reason)
for _stage in STAGES:
    for _gauge in (backlog_sessions, backlog_oldest, dead_letters, workers):
        _gauge.labels(_stage)
