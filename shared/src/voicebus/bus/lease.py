"""A session's stage in a worker's hands: its mail, and the numbered writes that its fencing token admits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgpack
import orjson

from voicebus.bus import metrics
from voicebus.bus.calls import Calls
from voicebus.bus.delivery import Delivery, delivery_of, fields_of, order
from voicebus.bus.emission import Emission
from voicebus.bus.interruption import interrupt
from voicebus.bus.lane import PartKeys
from voicebus.bus.replies import accepted, owned
from voicebus.bus.scripts import ScriptName
from voicebus.bus.settings import BusSettings
from voicebus.bus.wire import Arg
from voicebus.contract.codec import event_body, load_mail
from voicebus.contract.errors import BusUnavailable, LeaseLost, TurnCancelled, VoicebusError
from voicebus.contract.events import Error
from voicebus.contract.keys import SessionKeys, Stage
from voicebus.contract.mail import Mail
from voicebus.contract.payloads import ProblemData
from voicebus.contract.sessions import Cut

_FAILED = {"stt": "stt_failed", "agent": "agent_failed", "tts": "tts_failed"}


@dataclass(frozen=True, slots=True)
class Renewal:
    """What the owner of a lease learns when it renews it."""

    waiting: bool  # mail is in the mailbox: it waits, or is being worked on
    cancelled: frozenset[int]


@dataclass(frozen=True, slots=True)
class Approval:
    """A tool call that was asked about, and what a person said."""

    state: Literal["pending", "approved", "denied"]
    reason: str
    left_s: float  # until the request expires: at 0 a pending one stays so

    @property
    def expired(self) -> bool:
        """Nobody can decide any more."""
        return self.state == "pending" and self.left_s <= 0


class Lease:
    """A session's stage, owned by this worker until it says otherwise or loses it."""

    def __init__(
        self,
        calls: Calls,
        keys: SessionKeys,
        settings: BusSettings,
        publish: str,
        *,
        stage: Stage,
        token: str,
        cursor: str,
        note: str,
        joined: str,
        taken_over: bool = False,
    ) -> None:
        self.session_id = keys.session_id
        self.token = token
        self.cursor = cursor
        self.note = note  # what the last owner left, also where no mail waits
        self.joined = joined  # what the user said before, and no turn holds yet: it goes on in the next utterance
        self.taken_over = taken_over  # the last owner fell silent and never gave it back
        self._calls = calls
        self._keys = k = keys
        self._settings = settings
        self._publish = publish
        self._stage: Stage = stage
        self._emit_keys = (
            *(k.session, k.log, k.speech, k.mail(self._stage), k.mail("agent"), k.mail("tts")),
            *(k.ready("agent"), k.ready("tts"), k.journal, k.history, k.spoken),
        )
        self._words_keys = PartKeys.of(k.session, k.log)
        given_up = ProblemData(code=_FAILED[self._stage], message="It failed too often and was given up.")
        self._given_up = event_body(Error(session_id=self.session_id, data=given_up))
        self.more = True  # whether mail was behind the cursor at the last write; what comes later wakes the owner
        self._brought: Delivery | None = None  # came along with a wake-up
        self._tail: list[tuple[bytes, list[bytes]]] = []  # the same, for a stage that reads ahead
        self._given = "0-0"  # the mail that `next` gave last
        self._number = 0
        self._doubtful = False  # whether a write got no answer: then its number may be used or not
        self._writing = asyncio.Lock()

    @property
    def renewed_every_s(self) -> float:
        """A third of the lease's time: what a lost wake-up costs at most."""
        return self._settings.lease_ms / 3_000

    async def next(self) -> Delivery | None:
        """The first mail behind the cursor, None if there is none. Mail that failed too often is skipped.

        Mail that came along with a wake-up was counted there: nobody is asked for it.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        brought, self._brought = self._brought, None
        if brought is not None and order(brought.id) > order(self._given):
            self._given = brought.id
            return brought
        k = self._keys
        while True:
            word, values = owned(
                await self._script(
                    "next",
                    (k.session, k.log, k.mail(self._stage), k.dead(self._stage), k.journal, k.history),
                    self._settings.log_max,
                    self._stage,
                    self.token,
                    self._settings.attempts_max,
                    self._given_up,
                )
            )
            if word == b"mail":
                delivery = delivery_of(values)
                self._given = delivery.id
                return delivery
            self.cursor = values[0].decode()
            if word == b"empty":
                return None
            metrics.mail_given_up.labels(self._stage).inc()

    def bring(self, raw: bytes) -> None:
        """A wake-up came with its mail: the lease's token, `|`, and what `next` would reply as MessagePack."""
        token, _, reply = raw.partition(b"|")
        if token.decode() == self.token:
            self._brought = delivery_of(msgpack.unpackb(reply, raw=True))

    def bring_tail(self, raw: bytes) -> None:
        """A wake-up came with the mailbox's last entries: the lease's token, `|`, XREVRANGE's reply as MessagePack."""
        token, _, reply = raw.partition(b"|")
        if token.decode() == self.token:
            self._tail = msgpack.unpackb(reply, raw=True)[::-1]

    def woken(self) -> None:
        """A wake-up came alone: there is more than the entries that came before."""
        self._tail = []

    async def mail_after(self, mail_id: str, *, most: int = 64) -> list[tuple[str, Mail]]:
        """Mail behind this one, without counting an attempt: for a stage that reads ahead of its cursor.

        Nobody is asked if the last mails came along with a wake-up, and nothing is between them and this one.
        """
        tail, self._tail = self._tail, []
        if tail and order(tail[0][0].decode()) <= order(mail_id):
            entries = [entry for entry in tail if order(entry[0].decode()) > order(mail_id)]
        else:
            key = self._keys.mail(self._stage)
            entries = await self._calls.command("XRANGE", key, f"({mail_id}", "+", "COUNT", most)
        return [(entry_id.decode(), load_mail(fields_of(flat))) for entry_id, flat in entries]

    async def emit(self, *emissions: Emission) -> int:
        """Applies the emissions once each, in order, and returns the log's head.

        All belong to the same turn and response.

        Raises:
            LeaseLost: another worker may own the stage; nothing more of this one is applied.
            TurnCancelled: the turn was interrupted or its response abandoned; what follows is refused, too.
        """
        async with self._writing:
            if self._doubtful:
                raise LeaseLost
            try:
                return await self._write_all(emissions)
            except BusUnavailable:
                self._doubtful = True
                raise

    async def _write_all(self, emissions: Sequence[Emission]) -> int:
        first = self._number + 1
        seq = 0
        for _ in range(8):
            rest = emissions[self._number + 1 - first :]
            replies = [self._write(self._number + 1 + i, emission) for i, emission in enumerate(rest)]
            cancelled = await _until_done(replies)
            for reply in replies:
                word, values = owned(reply.result())
                if word == b"cancelled":
                    raise TurnCancelled
                if word == b"gap":
                    # One before it got lost on a node that was away; the rest goes out again.
                    break
                self._number += 1
                seq = values[0]
                if len(values) > 1:
                    self.more = bool(values[1])
            if cancelled:
                raise asyncio.CancelledError
            if self._number + 1 - first == len(emissions):
                return seq
        raise LeaseLost

    def _write(self, number: int, emission: Emission) -> asyncio.Future[Any]:
        head = (self._publish, "", self._settings.log_max, self._stage)
        write = (self.token, number, emission.turn, emission.response_id)
        operations = emission.operations
        if emission.is_words:
            words = (*write, len(operations) // 2, *operations)
            return self._calls.start_part("words", head, self._words_keys, words)
        return self._calls.start_script("emit", self._emit_keys, *head, *write, *operations)

    async def renew(self) -> Renewal:
        """Moves the expiry.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        k = self._keys
        _, values = owned(
            await self._script(
                "renew",
                (k.session, k.ready(self._stage), k.mail(self._stage)),
                self._stage,
                self.token,
                self._settings.lease_ms,
            )
        )
        turns = frozenset(int(turn) for turn in values[2].split(b",") if turn)
        return Renewal(waiting=values[0] != b"0-0", cancelled=turns)

    async def release(self) -> bool:
        """Gives the stage back; False if mail waits behind the cursor: then it is still owned.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        k = self._keys
        word, _ = owned(
            await self._script(
                "release",
                (k.session, k.ready(self._stage), k.mail(self._stage)),
                self._stage,
                self.token,
            )
        )
        return word == b"ok"

    async def hand_over(self, *, failed: bool = False) -> None:
        """Lets another worker go on at once; the mail under way counts as tried only if it `failed`.

        Raises:
            LeaseLost: another worker owns it already.
        """
        k = self._keys
        owned(
            await self._script(
                "handover",
                (k.session, k.ready(self._stage)),
                self._stage,
                self.token,
                "failed" if failed else "",
            )
        )

    async def interrupt(self, speech_id: str, *, agent_type: str) -> str:
        """Somebody speaks: cuts short what is being answered or heard. For the stt stage.

        `speech_id` names the speech, so that it interrupts once. Returns what the user said before, if that is to be
        joined with what is being said now: the interrupted answer had not reached anybody.

        Raises:
            LeaseLost: another worker may own the stage.
            Refused: the session has ended.
        """
        head = (self._publish, "", self._settings.log_max)
        reply = await interrupt(
            self._calls, self._keys, head, agent_type=agent_type, message_id=speech_id, token=self.token
        )
        owned(reply)
        _, values = accepted(reply)
        text: bytes = values[-1] if isinstance(values[-1], bytes) else b""
        return text.decode()

    async def cut(self, turn: int) -> Cut:
        """What became of a turn that was interrupted before its answer was complete."""
        raw = await self._calls.command("HGET", self._keys.session, f"cut:{turn}")
        return Cut.model_validate_json(raw) if raw else Cut(heard="")

    async def approvals(self) -> dict[str, Approval]:
        """The active turn's tool calls that were asked about and are not settled, by their id. For the agent stage.

        Raises:
            LeaseLost: another worker may own the stage.
        """
        _, (asked, now_ms) = owned(await self._script("approvals", (self._keys.session,), self.token))
        return {
            tool_call_id: Approval(entry["state"], entry.get("reason", ""), (entry["expires_ms"] - now_ms) / 1000)
            for tool_call_id, entry in orjson.loads(asked).items()
        }

    async def said(self, turn: int) -> dict[int, str]:
        """Sentences by segment that were heard of the turn's abandoned responses."""
        sentences = [orjson.loads(raw) for raw in await self._calls.command("LRANGE", self._keys.spoken, 0, -1)]
        return {
            sentence["segment"]: sentence["text"]
            for sentence in sentences
            if sentence["turn"] == str(turn) and sentence.get("said")
        }

    async def _script(self, name: ScriptName, keys: Sequence[str], *args: Arg) -> Any:
        return await self._calls.script(name, keys, self._publish, "", *args)


async def _until_done(replies: Sequence[asyncio.Future[Any]]) -> bool:
    """Waits for all replies, also when cancelled, and returns whether it was.

    Whoever is cancelled in mid-write waits for its end: else the next write would bear the same number and be taken
    for a repetition. The bus settles every call within its deadline.
    """
    cancelled = False
    for reply in replies:
        while not reply.done():
            try:
                await asyncio.shield(reply)
            except asyncio.CancelledError:
                cancelled = True
            except VoicebusError:
                pass  # whoever looks at the reply gets it
    return cancelled
