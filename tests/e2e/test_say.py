"""The assistant is told what to say, over REST, and it comes from the loudspeaker."""

import asyncio
from array import array
from collections.abc import Sequence

from support.processes import RunningGateway
from support.wire import Message, Wire, wire

from voicebus_client.client import Voicebus

TEXT = "Dinner is ready. Please come to the table."


async def said(client: Wire, turn: int | None) -> Message:
    """The response of this turn, once it was spoken to its end."""
    response = await client.until(lambda message: message["type"] == "response" and message["turn"] == turn)
    last = response["data"]["segments"] - 1

    def ends(message: Message) -> bool:
        of_turn = message["type"] == "tts" and message["turn"] == turn
        return bool(of_turn and message["data"]["segment"] == last and message["data"]["is_last"])

    if last >= 0 and not any(map(ends, client.seen)):
        await client.until(ends)
    return response


def samples_of(messages: list[Message]) -> Sequence[int]:
    return array("h", b"".join(message["data"]["audio"] for message in messages if message["type"] == "tts"))


async def test_it_is_heard_as_it_was_written_without_the_model(
    gateways: list[RunningGateway], voicebus: Voicebus
) -> None:
    session = await voicebus.create_session()
    async with wire(gateways[1], session.session_id, "?audio=binary") as client:
        await client.until("welcome")
        answer = await voicebus.announce(session.session_id, TEXT)
        response = await said(client, answer.turn)
    assert (response["data"]["content"], response["data"]["intent"]) == (TEXT, "say")
    durable = [message["type"] for message in client.seen if "seq" in message and message["type"] != "tts"]
    assert durable == ["activity", "token", "response"]
    texts = [message["data"]["text"] for message in client.seen if "text" in message["data"]]
    assert texts == ["Dinner is ready.", "Please come to the table."]
    rate = next(message["data"]["sample_rate"] for message in client.seen if message["type"] == "tts")
    samples = samples_of(client.seen)
    assert len(samples) > rate  # more than a second
    assert max(samples) > 3_000  # which is no silence


async def test_in_text_mode_it_is_written_and_the_assistant_remembers(
    gateways: list[RunningGateway], voicebus: Voicebus
) -> None:
    session = await voicebus.create_session(mode="text")
    async with wire(gateways[0], session.session_id, "?audio=binary") as client:
        answer = await voicebus.announce(session.session_id, TEXT)
        await said(client, answer.turn)
        await client.send(type="text", id="q", content="please say that again")
        again = await said(client, 2)
    assert TEXT in again["data"]["content"]
    assert "tts" not in {message["type"] for message in client.seen}
    shown = await voicebus.session(session.session_id)
    assert [(message.role, message.turn) for message in shown.history] == [
        ("assistant", 1),
        ("user", 2),
        ("assistant", 2),
    ]


async def test_whoever_cuts_in_hears_no_more_of_it(gateways: list[RunningGateway], voicebus: Voicebus) -> None:
    session = await voicebus.create_session()
    async with wire(gateways[0], session.session_id, "?audio=binary") as client:
        await client.until("welcome")
        text = " ".join(f"This is sentence number {number} of the announcement." for number in range(40))
        await voicebus.announce(session.session_id, text)
        await client.until("tts")
        await client.send(type="interrupt", id="stop")
        cut = await client.until("interrupted")
        n = len(client.seen)
        after = await voicebus.announce(session.session_id, "All right.")
        await said(client, after.turn)
    assert cut["data"]["turn"] == 1
    assert text.startswith(cut["data"]["heard"])
    assert len(cut["data"]["heard"]) < len(text) / 2
    late = [message for message in client.seen[n:] if message["type"] == "tts"]
    assert {message["turn"] for message in late} == {after.turn}
    assert min(message["data"]["n"] for message in late) >= cut["data"]["speech_next"]


async def test_what_was_said_twice_by_mistake_is_heard_once(gateways: list[RunningGateway], voicebus: Voicebus) -> None:
    session = await voicebus.create_session()
    async with wire(gateways[0], session.session_id, "?audio=binary") as client:
        await client.until("welcome")
        first, second = await asyncio.gather(*(voicebus.announce(session.session_id, TEXT, id="m1") for _ in range(2)))
        last = await voicebus.announce(session.session_id, "That was all.")
        await said(client, last.turn)
    assert first.seq == second.seq
    texts = [message["data"]["text"] for message in client.seen if "text" in message["data"]]
    assert texts == ["Dinner is ready.", "Please come to the table.", "That was all."]
