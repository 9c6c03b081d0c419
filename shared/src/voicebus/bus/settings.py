"""What the bus can be told; the chassis reads it from the environment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BusSettings:
    """Where Redis is and how much it keeps."""

    redis_url: str = "redis://localhost:6379/0"
    prefix: str = "vb"
    partitions: int = 64  # fixed at first start; another value refuses to start
    log_max: int = 10_000  # events kept in a session's log, about
    waiting_turns_max: int = 64  # of one session, before text is refused
    waiting_audio_max: int = 8_192  # mailbox entries of one session, before audio is refused
    audio_idle_ms: int = 10_000  # after which another stream may replace a silent one
    ended_kept_ms: int = 86_400_000  # how long an ended session stays readable
    history_turns: int = 50  # of a conversation that the model sees
    attempts_max: int = 3  # at one mail, before it goes to the dead letters
    lease_ms: int = 9_000
    deadline_s: float = 10.0  # after which a call that Redis doesn't answer fails
