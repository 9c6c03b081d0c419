"""What an application can tune of a connection."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds, sizes in bytes, queues in messages."""

    backoff_s: float = 1.0  # first wait before connecting again, doubled each time, with full jitter …
    backoff_max_s: float = 30.0  # … up to this
    open_timeout_s: float = 10.0  # one attempt, up to the welcome
    first_timeout_s: float = 30.0  # all attempts of entering the connection together
    give_up_s: float | None = None  # offline for so long later on: give up; None: never
    ping_interval_s: float = 30.0  # without a message for so long: ping; for twice as long: the connection is dead
    close_timeout_s: float = 1.0
    inbox_events: int = 1_024  # received, not yet taken by the application
    outbox_messages: int = 256  # not yet acknowledged
    kept_messages: int = 64  # acknowledged, kept in case the server rolls back
    audio_waiting_bytes: int = 1_048_576  # written, not yet acknowledged: 32 s of PCM at 16 kHz
    audio_kept_bytes: int = 320_000  # acknowledged, kept in case the server rolls back: 10 s
    audio_frame_bytes: int = 16_384  # one binary frame at most
    message_bytes: int = 16_777_216  # largest message that is accepted
