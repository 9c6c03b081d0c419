"""Mail that failed too often: what lies there, and its way back or out.

Each stage has a stream of dead letters in each partition. What opened a turn opens a new one when it is retried, since
the one that failed is over and others may have followed; a sentence is spoken from its start, in its own turn. Speech
can't be retried: what was buried of a microphone stream is a range of its mailbox, and the script that buried it let go
of the audio, because the stream goes on behind it.
"""

import asyncio
import heapq
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import uuid4

import orjson
from pydantic import JsonValue, ValidationError

from voicebus.bus.calls import Calls
from voicebus.bus.delivery import fields_of
from voicebus.bus.replies import accepted
from voicebus.bus.settings import BusSettings
from voicebus.contract.codec import event_body, load_event, load_mail, mail_body
from voicebus.contract.errors import Refused
from voicebus.contract.events import Activity, Error, User
from voicebus.contract.keys import STAGES, Keys, Stage
from voicebus.contract.mail import Mail, Say, Sentence, UserTurn
from voicebus.contract.payloads import ActivityData, ProblemData, UserData

_ID = re.compile(r"([a-z]+)-([0-9]{1,9})-([0-9]{1,19})-([0-9]{1,19})")


class LetterId(NamedTuple):
    """Where a dead letter lies. In this order letters are listed: the newest first, then by stage and partition."""

    newness: tuple[int, int]  # the entry's time in ms and count, negative
    stage_index: int
    partition: int

    @property
    def stage(self) -> Stage:
        """The stage that failed."""
        return STAGES[self.stage_index]

    @property
    def entry(self) -> str:
        """The id of the stream's entry."""
        return f"{-self.newness[0]}-{-self.newness[1]}"

    @property
    def died_at(self) -> datetime:
        """When it was given up, by the server's clock."""
        return datetime.fromtimestamp(-self.newness[0] / 1000, UTC)

    def __str__(self) -> str:
        return f"{self.stage}-{self.partition}-{self.entry}"

    @classmethod
    def at(cls, stage: Stage, partition: int, entry: str) -> "LetterId":
        """The id of an entry."""
        time_ms, _, count = entry.partition("-")
        return cls((-int(time_ms), -int(count)), STAGES.index(stage), partition)

    @classmethod
    def parse(cls, text: str) -> "LetterId | None":
        """The id in what `str` made of it; None if it is none."""
        match = _ID.fullmatch(text)
        if match is None or match[1] not in STAGES:
            return None
        return cls.at(match[1], int(match[2]), f"{match[3]}-{match[4]}")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Mail that was given up, and why."""

    id: LetterId
    session_id: str
    turn: int  # 0: of none
    error: ProblemData  # what the session was told
    mail: JsonValue  # as it was sent, text if it is not JSON; None for audio


@dataclass(frozen=True, slots=True)
class Retried:
    """A dead letter is mail again; `seq` is the head of the log then."""

    seq: int
    turn: int | None  # in which it is worked at; None if an earlier copy of this call did it


class DeadLetters:
    """The dead letters of an installation."""

    def __init__(self, calls: Calls, keys: Keys, settings: BusSettings, publish: str) -> None:
        self._calls = calls
        self._keys = keys
        self._settings = settings
        self._publish = publish

    async def page(
        self, *, stage: Stage | None = None, after: LetterId | None = None, limit: int = 50
    ) -> tuple[list[DeadLetter], LetterId | None]:
        """A page of dead letters, newest first, and the one after which the next page goes on, if any."""
        streams = [(s, p) for s in STAGES if stage in (None, s) for p in range(self._keys.partitions)]
        found = await asyncio.gather(*(self._newest(s, p, after) for s, p in streams))
        heads = [(letter.id, letter) for letter in found if letter is not None]
        heapq.heapify(heads)
        letters: list[DeadLetter] = []
        while heads and len(letters) < limit:
            letter_id, letter = heads[0]
            letters.append(letter)
            follower = await self._newest(letter_id.stage, letter_id.partition, letter_id)
            if follower is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (follower.id, follower))
        return letters, letters[-1].id if heads and letters else None

    async def get(self, letter_id: LetterId) -> DeadLetter:
        """One dead letter.

        Raises:
            Refused: `dead_letter_not_found`.
        """
        entries = await self._calls.command("XRANGE", self._stream(letter_id), letter_id.entry, letter_id.entry)
        if not entries:
            raise Refused("dead_letter_not_found")
        return _letter(letter_id, fields_of(entries[0][1]))

    async def retry(self, letter_id: LetterId) -> Retried:
        """Makes the letter its session's mail again: behind what waits, with all attempts before it.

        Raises:
            Refused: `dead_letter_not_found` (also the second time), `retry_impossible` (its audio was let go of, its
                sentence was interrupted, its mail can't be read), `session_not_found`, `session_ended` or
                `overloaded`.
        """
        letter = await self.get(letter_id)
        if letter_id.stage == "stt":
            raise Refused("retry_impossible", "The audio is not kept: it has to be said again.")
        mail = _mail(letter)
        k = self._keys.of(letter.session_id)
        opening = b""
        if not isinstance(mail, Sentence):
            mail = mail.model_copy(update={"id": str(letter_id), "turn": 0})
            opening = await self._opening(letter.session_id, mail)
        word, values = accepted(
            await self._calls.script(
                "retry",
                (
                    *(k.session, k.log, k.mail(letter_id.stage), k.ready(letter_id.stage)),
                    *(k.dead(letter_id.stage), k.seen, k.journal, k.history),
                ),
                self._publish,
                "",
                self._settings.log_max,
                uuid4().hex,
                letter_id.entry,
                self._settings.waiting_turns_max,
                mail_body(mail),
                mail.kind,
                opening,
                mail.response_id if isinstance(mail, Sentence) else "",
            )
        )
        if word == b"missing":
            raise Refused("dead_letter_not_found")
        if word == b"void":
            raise Refused("retry_impossible", "Its answer was interrupted, or begun anew, since.")
        return Retried(int(values[0]), int(values[1]) if word == b"ok" else None)

    async def drop(self, letter_id: LetterId) -> None:
        """Deletes the letter.

        Raises:
            Refused: `dead_letter_not_found`.
        """
        if not await self._calls.command("XDEL", self._stream(letter_id), letter_id.entry):
            raise Refused("dead_letter_not_found")

    async def _newest(self, stage: Stage, partition: int, after: LetterId | None) -> DeadLetter | None:
        """The first letter of this stream in the list's order, behind `after`."""
        newest = "+"
        if after is not None:
            behind = (STAGES.index(stage), partition) > (after.stage_index, after.partition)
            if not behind and after.newness == (0, 0):
                return None  # nothing can be older
            newest = after.entry if behind else f"({after.entry}"
        key = self._keys.dead(partition, stage)
        entries = await self._calls.command("XREVRANGE", key, newest, "-", "COUNT", 1)
        if not entries:
            return None
        letter_id = LetterId.at(stage, partition, entries[0][0].decode())
        return _letter(letter_id, fields_of(entries[0][1]))

    async def _opening(self, session_id: str, mail: UserTurn | Say) -> bytes:
        """The event that opens the mail's new turn."""
        raw = await self._calls.command("HGET", self._keys.of(session_id).session, "agent")
        if raw is None:
            raise Refused("session_not_found")
        agent_type = raw.decode()
        if isinstance(mail, Say):
            said = ActivityData(activity_type="say", content=mail.content)
            return event_body(Activity(session_id=session_id, agent_type=agent_type, data=said))
        asked = UserData(content=mail.content, input=mail.input, id=mail.id)
        return event_body(User(session_id=session_id, agent_type=agent_type, data=asked))

    def _stream(self, letter_id: LetterId) -> str:
        return self._keys.dead(letter_id.partition, letter_id.stage)


def _letter(letter_id: LetterId, fields: dict[bytes, bytes]) -> DeadLetter:
    return DeadLetter(
        id=letter_id,
        session_id=fields[b"sid"].decode(),
        turn=int(fields[b"turn"]),
        error=_problem(fields[b"error"]),
        mail=_content(fields[b"d"]),
    )


def _problem(body: bytes) -> ProblemData:
    """The error in the event's body, which another version may have written."""
    try:
        event = load_event(b"{" + body)
    except ValidationError:
        event = None
    return event.data if isinstance(event, Error) else ProblemData(code="internal", message="The error can't be read.")


def _content(raw: bytes) -> JsonValue:
    if not raw:
        return None
    try:
        content: JsonValue = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode(errors="replace")
    return content


def _mail(letter: DeadLetter) -> UserTurn | Say | Sentence:
    try:
        mail: Mail | None = load_mail({b"d": orjson.dumps(letter.mail)})
    except ValidationError:
        mail = None
    match letter.id.stage, mail:
        case "agent", UserTurn() | Say():
            return mail
        case "tts", Sentence():
            return mail
    raise Refused("retry_impossible", "The mail can't be read.")
