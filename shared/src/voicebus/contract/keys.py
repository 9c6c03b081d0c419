"""The only module that spells Redis keys and channels.

All keys of a session and the ready sets of its partition share the hash tag `{p}`, so one script may touch them
on a single Redis and on Redis Cluster alike.
"""

import binascii
import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Stage = Literal["stt", "agent", "tts"]
STAGES: tuple[Stage, ...] = ("stt", "agent", "tts")


@dataclass(frozen=True)
class SessionKeys:
    """The keys of one session. `root` is `<prefix>:{p}`."""

    root: str
    session_id: str

    @cached_property
    def session(self) -> str:
        """Hash: everything about the session and its stages."""
        return f"{self.root}:s:{self.session_id}"

    @cached_property
    def log(self) -> str:
        """Stream of durable events, entry id `<seq>-0`."""
        return f"{self.session}:log"

    @cached_property
    def speech(self) -> str:
        """Stream of speech chunks, entry id `<n>-0`."""
        return f"{self.session}:speech"

    @cached_property
    def spoken(self) -> str:
        """List: the sentences of the turns that may still be heard."""
        return f"{self.session}:spoken"

    @cached_property
    def journal(self) -> str:
        """List: finished steps of the turn in progress."""
        return f"{self.session}:journal"

    @cached_property
    def history(self) -> str:
        """List: the conversation as the model sees it, one entry per turn."""
        return f"{self.session}:history"

    @cached_property
    def seen(self) -> str:
        """Sorted set: ids of client messages."""
        return f"{self.session}:seen"

    @cached_property
    def messages(self) -> str:
        """Sorted set: messages that count towards the limit."""
        return f"{self.session}:messages"

    @cached_property
    def connections(self) -> str:
        """Sorted set: open connections."""
        return f"{self.session}:connections"

    @cached_property
    def audio(self) -> str:
        """Hash: how much audio may come."""
        return f"{self.session}:audio"

    @cached_property
    def live(self) -> str:
        """Channel on which everything of the session is published."""
        return f"{self.session}:live"

    @cached_property
    def deadlines(self) -> str:
        """Sorted set of the partition: when idle sessions end."""
        return f"{self.root}:deadlines"

    @cached_property
    def ended(self) -> str:
        """Sorted set of the partition: sessions that ended, with their users, by when they are gone."""
        return f"{self.root}:ended"

    def mail(self, stage: Stage) -> str:
        """Stream: the input of a stage."""
        return f"{self.session}:mail:{stage}"

    def ready(self, stage: Stage) -> str:
        """Sorted set of the partition: sessions with mail for the stage, or the expiry of their lease."""
        return f"{self.root}:ready:{stage}"

    def dead(self, stage: Stage) -> str:
        """Stream of the partition: mail that failed too often."""
        return f"{self.root}:dead:{stage}"

    @cached_property
    def all(self) -> tuple[str, ...]:
        """Every key that is the session's alone."""
        mails = tuple(self.mail(stage) for stage in STAGES)
        return (self.session, self.log, self.speech, self.spoken, self.journal, self.history, self.seen, *mails)


@dataclass(frozen=True)
class UserKeys:
    """What is counted of one user. `root` is `<prefix>:{u:<hash of the user's name>}`."""

    root: str

    @property
    def messages(self) -> str:
        """Sorted set: messages that count towards the limit."""
        return f"{self.root}:messages"

    @property
    def connections(self) -> str:
        """Sorted set: open connections."""
        return f"{self.root}:connections"

    @property
    def opening(self) -> str:
        """Sorted set: sessions that were just opened."""
        return f"{self.root}:opening"

    @property
    def audio(self) -> str:
        """Hash: how much audio may come."""
        return f"{self.root}:audio"

    def usage(self, month: str) -> str:
        """Hash: what the user took in this month (`2026-11`)."""
        return f"{self.root}:usage:{month}"


@dataclass(frozen=True)
class Keys:
    """Spells the keys of an installation with this prefix and number of partitions."""

    prefix: str = "vb"
    partitions: int = 64

    def partition(self, session_id: str) -> int:
        """The session's partition: CRC-16/XMODEM of its id, as Redis Cluster hashes."""
        return binascii.crc_hqx(session_id.encode(), 0) % self.partitions

    def root(self, partition: int) -> str:
        """What the keys of a partition begin with."""
        return f"{self.prefix}:{{{partition}}}"

    def of(self, session_id: str) -> SessionKeys:
        """The keys of a session."""
        return SessionKeys(self.root(self.partition(session_id)), session_id)

    def ready(self, partition: int, stage: Stage) -> str:
        """The ready set of a stage in a partition."""
        return f"{self.root(partition)}:ready:{stage}"

    def bell(self, partition: int, stage: Stage) -> str:
        """The doorbell channel of a stage in a partition; the scripts derive it from the ready set's name."""
        return f"{self.ready(partition, stage)}:bell"

    def dead(self, partition: int, stage: Stage) -> str:
        """The dead letters of a stage in a partition."""
        return f"{self.root(partition)}:dead:{stage}"

    def worker(self, partition: int, worker: str) -> str:
        """The channel on which a worker hears of the sessions it holds in a partition."""
        return f"{self.root(partition)}:w:{worker}"

    def deadlines(self, partition: int) -> str:
        """When idle sessions of a partition end."""
        return f"{self.root(partition)}:deadlines"

    def ended(self, partition: int) -> str:
        """When ended sessions of a partition are gone."""
        return f"{self.root(partition)}:ended"

    def user_sessions(self, sub: str) -> str:
        """Sorted set of a user's sessions by creation time; may name sessions that are gone."""
        return f"{self.prefix}:u:{sub}:sessions"

    def shared_sessions(self, sub: str) -> str:
        """The same of the sessions of others of which the user is a member."""
        return f"{self.prefix}:u:{sub}:shared"

    def user(self, sub: str) -> UserKeys:
        """What is counted of a user; in a slot of its own, whatever the name holds."""
        return UserKeys(f"{self.prefix}:{{u:{hashlib.blake2b(sub.encode(), digest_size=12).hexdigest()}}}")

    def users(self, month: str) -> str:
        """Set: the users of whom there is usage in this month (`2026-11`)."""
        return f"{self.prefix}:users:{month}"

    def attempts(self, address: str) -> str:
        """Sorted set: requests from this address that were not authenticated."""
        return f"{self.prefix}:{{a:{address}}}:attempts"

    def gateway(self, name: str) -> str:
        """Exists while the gateway of this name lives."""
        return f"{self.prefix}:{{g:{name}}}:alive"

    @property
    def revoked(self) -> str:
        """Sorted set: whose tokens are void, by the time up to which they were issued."""
        return f"{self.prefix}:{{revocations}}"

    @property
    def revocations(self) -> str:
        """Channel on which revocations are published."""
        return f"{self.revoked}:live"

    @property
    def workers(self) -> str:
        """Sorted set: workers by the time when they last said that they live."""
        return f"{self.prefix}:{{workers}}"

    @property
    def worker_states(self) -> str:
        """Hash: what each worker says of itself."""
        return f"{self.workers}:states"

    @property
    def layout(self) -> str:
        """Holds the number of partitions, fixed at first start."""
        return f"{self.prefix}:partitions"
