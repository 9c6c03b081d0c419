"""What the gateway counts."""

from prometheus_client import Counter, Gauge

from voicebus.chassis.metrics import REGISTRY

connections = Gauge("voicebus_connections", "Open WebSocket connections", registry=REGISTRY)
closed = Counter("voicebus_connections_closed_total", "Connections by their close code", ["code"], registry=REGISTRY)
sent = Counter("voicebus_frames_sent_total", "Events and speech chunks sent to clients", registry=REGISTRY)
received = Counter("voicebus_frames_received_total", "Messages and audio frames of clients", registry=REGISTRY)
refused = Counter("voicebus_messages_refused_total", "Messages refused, by code", ["code"], registry=REGISTRY)
