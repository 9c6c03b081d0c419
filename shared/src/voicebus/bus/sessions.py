"""Opens, shows and ends sessions."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from voicebus.bus.calls import Calls
from voicebus.bus.replies import accepted
from voicebus.bus.scripts import SESSION_FIELDS
from voicebus.bus.settings import BusSettings
from voicebus.bus.wire import Arg
from voicebus.contract.codec import event_body
from voicebus.contract.errors import Refused
from voicebus.contract.events import SessionEnd, SessionStart
from voicebus.contract.keys import STAGES, Keys
from voicebus.contract.payloads import SessionEndData, SessionStartData, ToolApprovalRequestData
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession, Session

_LETTERS_AT_ONCE = 500
_LISTED = 1_000  # sessions that a list holds, the newest
_LIST_FULL_MS = 3_600_000  # after which to come again: those that have ended leave it within a day


class Place(NamedTuple):
    """Where a session stands in its owner's list, which is in this order, newest first."""

    created_s: float  # since 1970
    session_id: str


class Sessions:
    """The sessions of an installation."""

    def __init__(self, calls: Calls, keys: Keys, settings: BusSettings, publish: str) -> None:
        self._calls = calls
        self._keys = keys
        self._settings = settings
        self._publish = publish

    async def open(self, new: NewSession, owner: str, *, session_id: str | None = None) -> tuple[Session, bool]:
        """Opens a session; with an id that exists already, that one is returned, and False.

        Raises:
            Refused: `not_member` if that one is someone else's.
        """
        session_id = session_id or uuid4().hex
        created = datetime.now(UTC)
        k = self._keys.of(session_id)
        start = SessionStart(
            session_id=session_id,
            agent_type=new.agent_type,
            data=SessionStartData(agent_type=new.agent_type, mode=new.mode),
        )
        fields: dict[str, Arg] = {
            "sid": session_id,
            "owner": owner,
            "members": orjson.dumps(new.members),
            "agent": new.agent_type,
            "mode": new.mode,
            "context": orjson.dumps(new.context),
            "created_ms": int(created.timestamp() * 1000),
            "ttl_ms": new.ttl_s * 1000,
        }
        word, _ = accepted(
            await self._calls.script(
                "open",
                (k.session, k.log, k.deadlines),
                self._publish,
                "",
                self._settings.log_max,
                event_body(start),
                *(part for pair in fields.items() for part in pair),
            )
        )
        session = await self.get(session_id)
        if session.owner != owner:
            raise Refused("not_member")
        await self._list(session)
        return session, word == b"opened"

    async def _list(self, session: Session) -> None:
        """Puts the session into the lists of its owner and its members, who can't push out what others own."""
        lists = [self._keys.user_sessions(session.owner)]
        lists += [self._keys.shared_sessions(member) for member in session.members if member != session.owner]
        created_s = session.created_at.timestamp()
        await asyncio.gather(*(self._calls.start("ZADD", each, created_s, session.session_id) for each in lists))
        await asyncio.gather(*(self._calls.start("ZREMRANGEBYRANK", each, 0, -_LISTED - 1) for each in lists))

    async def get(self, session_id: str) -> Session:
        """The session's state.

        Raises:
            Refused: `session_not_found`.
        """
        values = await self._calls.command("HMGET", self._keys.of(session_id).session, *SESSION_FIELDS)
        if values[0] is None:
            raise Refused("session_not_found")
        return session_of(values)

    async def exists(self, session_id: str) -> bool:
        """Whether the session is there, open or ended."""
        return bool(await self._calls.command("EXISTS", self._keys.of(session_id).session))

    async def of_user(
        self, sub: str, *, after: Place | None = None, limit: int = 50, shared: bool = False
    ) -> tuple[list[Session], Place | None]:
        """A page of the user's sessions, newest first, and the place after which the next page goes on, if any.

        With `shared` those of which the user is a member are among them. A page may be shorter than `limit`, or
        empty, where sessions are gone.
        """
        newest = "+inf" if after is None else repr(after.created_s)
        lists = [self._keys.user_sessions(sub), *([self._keys.shared_sessions(sub)] if shared else ())]
        found = await asyncio.gather(
            *(self._calls.start("ZRANGE", each, newest, "-inf", "BYSCORE", "REV", "WITHSCORES") for each in lists)
        )
        places = sorted((place for flat in found for place in _places(flat)), reverse=True)
        rest = [place for place in places if after is None or place < after]
        page = rest[:limit]
        replies = await asyncio.gather(
            *(self._calls.start("HMGET", self._keys.of(place.session_id).session, *SESSION_FIELDS) for place in page)
        )
        sessions = []
        for values in replies:
            if values[0] is not None:
                sessions.append(session_of(values))
                await asyncio.sleep(0)  # a context may be large; others have their turn
        return sessions, page[-1] if len(rest) > limit else None

    async def open_of(self, sub: str) -> set[str]:
        """The open sessions that the user owns.

        Raises:
            Refused: `too_many_sessions`: the list of those that are open, or have ended within a day, is full.
        """
        names = [name.decode() for name in await self._calls.command("ZRANGE", self._keys.user_sessions(sub), 0, -1)]
        if len(names) >= _LISTED:
            raise Refused("too_many_sessions", retry_after_ms=_LIST_FULL_MS)
        states = await asyncio.gather(
            *(self._calls.start("HGET", self._keys.of(name).session, "status") for name in names)
        )
        return {name for name, status in zip(names, states, strict=True) if status == b"open"}

    async def history(self, session_id: str) -> list[bytes]:
        """The conversation's entries as the agent wrote them, one per turn, oldest first."""
        entries: list[bytes] = await self._calls.command("LRANGE", self._keys.of(session_id).history, 0, -1)
        return entries

    async def end(self, session_id: str, reason: str, *, if_idle: bool = False) -> bool:
        """Ends the session; it stays readable for a while. False if it was not there, or is not idle."""
        k = self._keys.of(session_id)
        event = SessionEnd(session_id=session_id, data=SessionEndData(reason=reason))
        keys = (
            *(k.session, k.log, k.deadlines),
            *(k.ready(stage) for stage in STAGES),
            *(k.mail(stage) for stage in STAGES),
            *(k.speech, k.journal, k.history, k.seen, k.spoken, k.ended),
        )
        reply = await self._calls.script(
            "close",
            keys,
            self._publish,
            "",
            self._settings.log_max,
            event_body(event),
            self._settings.ended_kept_ms,
            "idle" if if_idle else "",
        )
        if reply[0] == b"gone" and if_idle:
            await self._calls.command("ZREM", k.deadlines, session_id)
        return bool(reply[0] == b"ended")

    async def end_idle(self) -> int:
        """Ends sessions without input for longer than their ttl (server time); returns how many.

        Those that ended long ago, and are gone, leave their users' lists.
        """
        ended = 0
        for partition in range(self._keys.partitions):
            due = await self._calls.script("due", (self._keys.deadlines(partition),), self._publish, "", 100)
            for name in due:
                ended += await self.end(name.decode(), "idle", if_idle=True)
            gone = await self._calls.script("due", (self._keys.ended(partition),), self._publish, "", 100)
            for entry in gone:
                await self._forget(partition, entry)
        return ended

    async def _forget(self, partition: int, entry: bytes) -> None:
        session_id, owner, members = orjson.loads(entry)
        status = await self._calls.command("HGET", self._keys.of(session_id).session, "status")
        if status == b"ended":  # at the very moment
            return
        if status is None:  # else it was made again since
            lists = [self._keys.user_sessions(owner), *map(self._keys.shared_sessions, orjson.loads(members))]
            await asyncio.gather(*(self._calls.start("ZREM", each, session_id) for each in lists))
            for stage in STAGES:
                await self._forget_dead_letters(self._keys.dead(partition, stage), session_id.encode())
        await self._calls.command("ZREM", self._keys.ended(partition), entry)

    async def _forget_dead_letters(self, letters: str, session_id: bytes) -> None:
        """They hold what was said."""
        after = "-"
        while page := await self._calls.command("XRANGE", letters, after, "+", "COUNT", _LETTERS_AT_ONCE):
            if mine := [entry for entry, fields in page if _value(fields, b"sid") == session_id]:
                await self._calls.command("XDEL", letters, *mine)
            after = f"({page[-1][0].decode()}"


def _value(fields: Sequence[bytes], name: bytes) -> bytes:
    return dict(zip(fields[::2], fields[1::2], strict=True))[name]


def _places(flat: Sequence[bytes]) -> list[Place]:
    return [Place(float(score), name.decode()) for name, score in zip(flat[::2], flat[1::2], strict=True)]


def session_of(values: Sequence[Any]) -> Session:
    """The session in the values of `SESSION_FIELDS`."""
    raw = {name: value.decode() if value else "" for name, value in zip(SESSION_FIELDS, values, strict=True)}
    return Session(
        session_id=raw["sid"],
        owner=raw["owner"],
        members=tuple(orjson.loads(raw["members"])),
        agent_type=raw["agent"],
        mode=raw["mode"],
        status=raw["status"],
        context=orjson.loads(raw["context"]),
        created_at=datetime.fromtimestamp(int(raw["created_ms"]) / 1000, UTC),
        ttl_s=int(raw["ttl_ms"]) // 1000,
        turn=int(raw["turn"] or 0),
        active_turn=int(raw["active_turn"]) if raw["active_turn"] else None,
        approvals=_waiting(raw) if raw["approvals"] else (),
        position=Position(epoch=raw["epoch"], seq=int(raw["seq"] or 0), speech=int(raw["n"] or 0)),
    )


def _waiting(raw: dict[str, str]) -> tuple[ToolApprovalRequestData, ...]:
    """The tool calls on which nobody has decided yet, the first to expire first."""
    if raw["status"] != "open":
        return ()
    waiting = [
        ToolApprovalRequestData.model_validate_json(asked["request"])
        for asked in orjson.loads(raw["approvals"]).values()
        if asked["state"] == "pending" and asked["turn"] == raw["active_turn"]
    ]
    return tuple(sorted(waiting, key=lambda request: (request.expires_at, request.tool_call_id)))
