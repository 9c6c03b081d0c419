"""`/ai/stats`: what the caller took in a month; for administrators, what all did."""

import heapq
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from gateway.rest.answers import problems
from gateway.rest.callers import CallerDep
from gateway.state import of
from voicebus.bus.limits import Usage, month_of

router = APIRouter()
_USERS_MOST: Final = 1_000
_MINE: Final = {"month": "2026-09", "user": "alice", "messages": 12, "sessions": 2, "audio_s": 34.5, "connections": 1}
_ALL: Final = {"month": "2026-09", "messages": 12, "sessions": 2, "audio_s": 34.5, "user_count": 1}


class UserStats(BaseModel):
    """What a user took in the month; `connections` are open at this moment."""

    user: str
    messages: int
    sessions: int  # that were opened
    audio_s: float  # of microphones, in whole seconds that were begun
    connections: int | None = None


class Stats(UserStats):
    """Of the caller."""

    month: str  # in UTC


class AllStats(BaseModel):
    """Of all users; `users` are those with the most messages, at most 1,000."""

    month: str
    messages: int = 0
    sessions: int = 0
    audio_s: float = 0.0
    user_count: int = 0
    users: list[UserStats] = []


@router.get(
    "/ai/stats",
    summary="Show usage",
    response_model=Stats | AllStats,
    responses={
        200: {
            "description": "The usage.",
            "content": {
                "application/json": {
                    "examples": {
                        "own": {"summary": "The caller's", "value": _MINE},
                        "all": {
                            "summary": "Everybody's",
                            "value": _ALL | {"users": [{key: _MINE[key] for key in _MINE if key != "month"}]},
                        },
                    }
                }
            },
        },
        **problems(),
    },
)
async def stats(
    request: Request,
    who: CallerDep,
    month: Annotated[
        str | None,
        Query(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$", description="As `2026-09`, UTC; by default this one."),
    ] = None,
    *,
    everybody: Annotated[bool, Query(alias="all", description="Everybody's; needs the scope `admin`.")] = False,
) -> Stats | AllStats:
    """What the caller took in a month, or everybody. Months are kept for over a year."""
    gateway = of(request)
    month = month or month_of(datetime.now(UTC))
    if not everybody:
        usage = await gateway.bus.limits.usage(who.sub, month)
        return Stats(month=month, **_of(usage).model_dump() | {"connections": await gateway.limits.connected(who.sub)})
    who.require("admin")
    found = AllStats(month=month)
    most: list[tuple[int, str, Usage]] = []
    async for usage in gateway.bus.limits.all_usage(month):
        found.messages += usage.messages
        found.sessions += usage.sessions
        found.audio_s += usage.audio_ms / 1000
        found.user_count += 1
        (heapq.heappush if len(most) < _USERS_MOST else heapq.heappushpop)(most, (usage.messages, usage.sub, usage))
    found.users = [_of(usage) for _, _, usage in sorted(most, reverse=True)]
    return found


def _of(usage: Usage) -> UserStats:
    return UserStats(user=usage.sub, messages=usage.messages, sessions=usage.sessions, audio_s=usage.audio_ms / 1000)
