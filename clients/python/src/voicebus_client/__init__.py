"""Client of Voicebus: each event once and in order, over as many connections as it takes."""

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import (
    AudioRefused,
    BadFrame,
    Closed,
    Forbidden,
    OutboxFull,
    SessionEnded,
    SessionNotFound,
    TooBig,
    TooMany,
    Unauthorized,
    Unreachable,
    VoicebusError,
)
from voicebus_client.events import Event
from voicebus_client.microphone import Microphone
from voicebus_client.models import Answer, DeadLetter, Health, HistoryMessage, PendingApproval, Retried, SessionInfo
from voicebus_client.options import Options
from voicebus_client.outbox import Ack
from voicebus_client.position import Position
from voicebus_client.upload import AudioSpec

__all__ = [
    "Ack",
    "Answer",
    "AudioRefused",
    "AudioSpec",
    "BadFrame",
    "Closed",
    "Connection",
    "DeadLetter",
    "Event",
    "Forbidden",
    "Health",
    "HistoryMessage",
    "Microphone",
    "Options",
    "OutboxFull",
    "PendingApproval",
    "Position",
    "Retried",
    "SessionEnded",
    "SessionInfo",
    "SessionNotFound",
    "TooBig",
    "TooMany",
    "Unauthorized",
    "Unreachable",
    "Voicebus",
    "VoicebusError",
]
