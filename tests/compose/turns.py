"""Turns that are disturbed, and what must be right of them in the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from compose.installation import Installation
from faults.conversation import conversation

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_stack.question import bundled_question
from voicebus_stack.turn import Turn, speak

SUM = "please add twenty three and nineteen"
SUM_ANSWER = "23 plus 19 is 42."
LONG = "count to one hundred"
_PATIENCE_S = 120.0  # a lease runs out, a container starts anew


@asynccontextmanager
async def connected(installation: Installation, sub: str = "me") -> AsyncIterator[Connection]:
    """A client in a session of its own."""
    token = await asyncio.to_thread(installation.token, sub)
    async with Voicebus(installation.url, token) as voicebus:
        session = await voicebus.create_session()
        async with voicebus.connect(session.session_id) as connection:
            yield connection


async def until(connection: Connection, turn: Turn, kind: str | None = None) -> None:
    """Collects events until the turn is over, or until one of this type."""
    async with asyncio.timeout(_PATIENCE_S):
        while not turn.over and not (kind and turn.first(kind)):
            turn.events.append(await anext(connection))


async def ask(connection: Connection, text: str, kind: str | None = None) -> Turn:
    """A turn in writing, up to its end or to the first event of this type."""
    turn = Turn(asyncio.get_running_loop().time())
    async with asyncio.timeout(_PATIENCE_S):
        await connection.send_text(text)
    await until(connection, turn, kind)
    return turn


async def spoken(connection: Connection) -> Turn:
    """The bundled question, asked aloud."""
    return await speak(connection, bundled_question())


def check(turn: Turn, answer: str | None = None, *, outcome: str = "ok") -> None:
    """Asserts that the turn came to its right end: nothing is missing, nothing came twice."""
    got = conversation(turn.events)
    numbers = [event.seq for event in turn.events if event.seq is not None]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert got.of("error") == []
    (response,) = got.of("response")
    assert [token["token"] for token in got.of("token")] == [response["content"]]
    assert [result["outcome"] for result in got.of("tool_result")] == [outcome], got.of("tool_result")
    assert list(got.speech) == list(range(response["segments"]))
    assert all(got.speech.values())
    assert got.late == 0
    if answer is not None:
        assert response["content"] == answer
