"""What the application says takes effect once, and each message gets its answer, wherever the connection breaks."""

import asyncio
from collections import deque
from dataclasses import replace

import pytest
from integration.client.clients import QUICK, connecting, holds, until
from integration.client.scripted_gateway import ScriptedGateway

from voicebus_client.errors import OutboxFull, TooMany, VoicebusError
from voicebus_client.position import Position
from voicebus_client.upload import AudioSpec


@pytest.mark.parametrize("lost", [True, False])
async def test_a_cut_at_any_message_leaves_each_with_one_effect(lost: bool) -> None:
    """`lost`: the message at the cut was not carried out; else only its answer is lost."""
    texts = [f"text {number}" for number in range(5)]
    for cut in range(5):
        gateway = ScriptedGateway(cut_before_ack=deque([cut, cut]), ignore_last=lost)
        async with gateway.serving(), connecting(gateway) as connection, asyncio.timeout(10):
            acks = await asyncio.gather(*[connection.send_text(text) for text in texts])
        assert [effect["content"] for effect in gateway.effects] == texts
        assert [ack.seq for ack in acks] == [1, 2, 3, 4, 5]


async def test_what_is_said_offline_goes_out_once_the_connection_is_back() -> None:
    options = replace(QUICK, backoff_s=0.1, backoff_max_s=0.1)
    async with ScriptedGateway().serving() as gateway, connecting(gateway, options=options) as connection:
        gateway.cut_all()
        await holds(lambda: not connection.connected)
        first, second = connection.send_text("one"), connection.send_text("two")
        assert [(await first).seq, (await second).seq] == [1, 2]


async def test_a_refused_message_gets_its_error_and_the_others_go_on() -> None:
    refusal = {"code": "overloaded", "message": "Later.", "temporary": True, "retry_after_ms": 1_000}
    gateway = ScriptedGateway(refused_ids={"no": refusal})
    async with gateway.serving(), connecting(gateway) as connection:
        refused, accepted = connection.send_text("no"), connection.send_text("yes")
        with pytest.raises(TooMany) as raised:
            await refused
        assert (raised.value.code, raised.value.temporary, raised.value.retry_after_ms) == ("overloaded", True, 1_000)
        assert (await accepted).seq == 1


async def test_each_command_is_sent_as_the_protocol_has_it() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        for sent in (
            connection.send_text("hello", id="mine", on_busy="interrupt"),
            connection.send_clip(b"abc", AudioSpec("wav", 8_000, 1)),
            connection.interrupt(turn=3, played_ms=250),
            connection.interrupt(),
            connection.set_mode("text"),
            connection.approve_tool("call", approved=False, reason="too dear"),
            connection.switch_agent("family"),
        ):
            await sent
        ids = [message.pop("id") for message in gateway.received]
    assert ids[0] == "mine"
    assert len(set(ids)) == 7
    assert all(len(message_id) == 32 for message_id in ids[1:])
    assert gateway.received == [
        {"type": "text", "content": "hello", "on_busy": "interrupt"},
        {"type": "audio", "content": "YWJj", "format": "wav", "sample_rate": 8_000, "channels": 1},
        {"type": "interrupt", "turn": 3, "played_ms": 250},
        {"type": "interrupt"},
        {"type": "mode", "mode": "text"},
        {"type": "tool_approval", "tool_call_id": "call", "approved": False, "reason": "too dear"},
        {"type": "agent_switch", "agent_type": "family"},
    ]


async def test_the_same_message_said_twice_is_one() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        first, again = connection.send_text("once", id="mine"), connection.send_text("once", id="mine")
        assert await first == await again
        waiting = connection.send_text("one", id="busy")
        with pytest.raises(VoicebusError, match="id"):
            connection.send_text("another", id="busy")
        await waiting
        await connection.send_text("once", id="mine")
        assert [effect["content"] for effect in gateway.effects if effect["id"] == "mine"] == ["once"]


async def test_too_many_unanswered_messages_are_refused_at_once() -> None:
    options = replace(QUICK, outbox_messages=2)
    async with ScriptedGateway(mute=True).serving() as gateway, connecting(gateway, options=options) as connection:
        connection.send_text("one")
        connection.send_text("two")
        with pytest.raises(OutboxFull):
            connection.send_text("three")


async def test_of_playback_reports_the_latest_counts_also_after_a_reconnect() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway) as connection:
        for ms in (100, 200, 300):
            connection.played(1, 0, ms)
        await holds(lambda: gateway.received)
        gateway.cut_all()
        await holds(lambda: len(gateway.received) == 2)
        assert gateway.received == [{"type": "played", "turn": 1, "segment": 0, "ms": 300}] * 2


async def test_after_a_rollback_what_was_acknowledged_there_takes_effect_once_more() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway, Position.BEGINNING) as connection:
        await connection.send_text("kept")
        await connection.send_text("lost")
        await connection.send_text("lost too")
        events = await until(connection, lambda event: event.seq == 3)
        gateway.forget(1, "bbbbbbbb")
        gateway.cut_all()
        events = await until(connection, lambda event: event.data.get("content") == "lost too")
    assert [event.type for event in events] == ["gap", "state_snapshot", "user", "user"]
    assert (events[0].data["from"], events[0].data["to"]) == (2, 3)
    assert [item["data"]["content"] for item in gateway.log] == ["kept", "lost", "lost too"]
    assert connection.position == Position("bbbbbbbb", 3, 0)


async def test_a_message_lost_above_what_the_client_had_read_is_sent_again_without_a_gap() -> None:
    """The answer to a message may come before the events that stand before its effect."""
    async with ScriptedGateway(hidden=deque([1])).serving() as gateway, connecting(gateway) as connection:
        await connection.send_text("acknowledged, never seen")
        gateway.forget(0, "bbbbbbbb")
        gateway.cut_all()
        events = await until(connection, lambda event: event.seq == 1)
        assert [event.type for event in events] == ["user"]
        assert len(gateway.effects) == 2


async def test_after_a_restart_without_loss_nothing_takes_effect_again() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway, Position.BEGINNING) as connection:
        await connection.send_text("kept")
        await until(connection, lambda event: event.seq == 1)
        gateway.epoch, gateway.valid = "bbbbbbbb", 1
        gateway.cut_all()
        await connection.send_text("next")
        events = await until(connection, lambda event: event.seq == 2)
        assert [event.type for event in events] == ["user"]
        assert len(gateway.effects) == 2


async def test_an_epoch_told_on_the_open_connection_counts_at_once() -> None:
    async with ScriptedGateway().serving() as gateway, connecting(gateway, Position.BEGINNING) as connection:
        await connection.send_text("before")
        await until(connection, lambda event: event.seq == 1)
        gateway.epoch, gateway.valid = "bbbbbbbb", 1
        gateway.tell("welcome", epoch="bbbbbbbb", seq=1, speech=0)
        await connection.send_text("after")
        await until(connection, lambda event: event.seq == 2)
        gateway.cut_all()
        await connection.send_text("later")
        events = await until(connection, lambda event: event.seq == 3)
        assert [event.type for event in events] == ["user"]
        assert connection.position == Position("bbbbbbbb", 3, 0)
        assert len(gateway.effects) == 3
