"""A little of all that clients do, and do wrong."""

from contextlib import AbstractAsyncContextManager
from uuid import uuid4

import httpx2
import websockets
from observability.installation import Installation
from support.wire import Wire, wire

from voicebus_client.client import Voicebus
from voicebus_stack.question import bundled_question
from voicebus_stack.turn import say, speak


async def talk(installation: Installation) -> str:
    """Spoken and written turns with tools, through both gateways; returns the session."""
    question = bundled_question()
    async with Voicebus(installation.gateways[0].url, installation.token) as voicebus:
        session = await voicebus.create_session()
        async with voicebus.connect(session.session_id) as connection:
            await speak(connection, question)
            await say(connection, "what is twelve times twelve")
            await speak(connection, question)
    async with (
        Voicebus(installation.gateways[1].url, installation.token) as voicebus,
        voicebus.connect(session.session_id) as connection,
    ):
        await say(connection, "what time is it in tokyo")
    return session.session_id


async def misbehave(installation: Installation, session_id: str) -> None:
    """Everything that is refused, missed, interrupted or lost."""
    await _cut_in(installation, session_id)
    async with _joined(installation, session_id, "?after=0") as client:
        assert (await client.until("welcome"))["data"]["replayed"] > 10
    async with _joined(installation, session_id, "?epoch=another&after=100000") as client:
        await client.until("gap")
    async with _joined(installation, session_id) as client:
        await client.until("welcome")
        await client.send(type="nonsense")
        await client.until("error")
        for _ in range(30):
            await client.send(type="mode", mode="voice", id=uuid4().hex)
        await client.until(lambda message: message["data"].get("code") == "too_many_messages")
    await _knock(installation, session_id)


async def _cut_in(installation: Installation, session_id: str) -> None:
    async with _joined(installation, session_id) as client:
        await client.until("welcome")
        await client.send(type="text", id=uuid4().hex, content="tell me ten facts about redis")
        await client.until("tts")
        await client.send(type="interrupt", id=uuid4().hex)
        await client.until("interrupted")


async def _knock(installation: Installation, session_id: str) -> None:
    """With a bad token, on both ways."""
    gateway = installation.gateways[0]
    async with websockets.connect(f"{gateway.ws}/ai/ws/{session_id}") as socket:
        assert await Wire(socket).close_code() == 4401
    async with httpx2.AsyncClient(base_url=gateway.url, headers={"Authorization": "Bearer x.y.z"}) as http:
        assert (await http.get("/ai/sessions")).status_code == 401


def _joined(installation: Installation, session_id: str, query: str = "") -> AbstractAsyncContextManager[Wire]:
    return wire(installation.gateways[0], session_id, query, additional_headers=installation.bearer)
