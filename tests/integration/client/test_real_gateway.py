"""The client and real gateways fit together."""

import asyncio

import pytest
from integration.client.clients import QUICK, holds, marks, until
from integration.client.real_gateway import Balancer, answer, running_gateway, token
from support.processes import RunningGateway

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.mail import AudioChunk, AudioStarted, AudioStopped
from voicebus_client import (
    AudioRefused,
    Forbidden,
    Position,
    SessionEnded,
    SessionNotFound,
    Unauthorized,
    Voicebus,
    VoicebusError,
)


async def test_a_session_over_rest(voicebus: Voicebus, bus: Bus) -> None:
    made = await voicebus.create_session(
        mode="text", context={"city": "Oslo"}, members=["bob"], ttl_s=600, idempotency_key="k"
    )
    again = await voicebus.create_session(mode="text", idempotency_key="k")
    assert again.session_id == made.session_id
    assert (made.owner, made.mode, made.status, made.members, made.ttl_s) == ("ada", "text", "open", ("bob",), 600)
    assert made.context == {"city": "Oslo"}

    sent = await voicebus.send_message(made.session_id, "hello", id="m1")
    assert (sent.id, sent.turn, sent.response, sent.text) == ("m1", 1, None, "")
    assert (await voicebus.send_message(made.session_id, "hello", id="m1")).seq == sent.seq

    async with asyncio.TaskGroup() as group:
        asking = group.create_task(voicebus.send_message(made.session_id, "how are you", wait=True))
        await answer(bus, made.session_id, ["hi"])
        await answer(bus, made.session_id, ["fine", " thanks"])
    assert asking.result().text == "fine thanks"

    shown = await voicebus.session(made.session_id)
    assert shown.turn == 2
    assert shown.position.seq == (await bus.sessions.get(made.session_id)).position.seq
    await voicebus.end_session(made.session_id)
    assert (await voicebus.session(made.session_id)).status == "ended"
    with pytest.raises(SessionEnded) as raised:
        await voicebus.send_message(made.session_id, "late")
    assert (raised.value.code, raised.value.status, raised.value.temporary) == ("session_ended", 410, False)


async def test_sessions_are_listed_page_by_page_newest_first(gateway: RunningGateway) -> None:
    async with Voicebus(gateway.url, token("someone new")) as client:
        made = [(await client.create_session()).session_id for _ in range(5)]
        assert [session.session_id async for session in client.sessions(page=2)] == made[::-1]


async def test_rest_refuses_with_the_codes_of_the_tree(voicebus: Voicebus, gateway: RunningGateway) -> None:
    with pytest.raises(SessionNotFound):
        await voicebus.session("never-was")
    async with Voicebus(gateway.url, "nonsense") as stranger:
        with pytest.raises(Unauthorized):
            await stranger.create_session()
    with pytest.raises(VoicebusError) as raised:
        await voicebus.create_session(agent_type="nobody")
    assert raised.value.code == "unknown_agent"


async def test_health_is_told(voicebus: Voicebus) -> None:
    health = await voicebus.health()
    assert health.well
    assert "redis" in health.parts


async def test_an_expired_token_is_replaced_in_rest_too(gateway: RunningGateway) -> None:
    made = iter([token(lasts_s=-10), token()])
    async with Voicebus(gateway.url, lambda: next(made)) as client:
        assert (await client.create_session()).owner == "ada"


async def test_the_websocket_refuses_with_the_codes_of_the_tree(voicebus: Voicebus, gateway: RunningGateway) -> None:
    session_id = (await voicebus.create_session()).session_id
    for sub, target, kind in [("ada", "never-was", SessionNotFound), ("eve", session_id, Forbidden)]:
        async with Voicebus(gateway.url, token(sub), options=QUICK) as client:
            with pytest.raises(kind):
                await client.connect(target).__aenter__()
    async with Voicebus(gateway.url, token(lasts_s=-10), options=QUICK) as client:
        with pytest.raises(Unauthorized):
            await client.connect(session_id).__aenter__()


async def test_a_token_that_expires_while_connected_is_renewed(voicebus: Voicebus, gateway: RunningGateway) -> None:
    session_id = (await voicebus.create_session()).session_id
    made = [token(lasts_s=2), token()]
    client = Voicebus(gateway.url, lambda: made.pop(0), options=QUICK)
    async with client, client.connect(session_id) as connection:
        await holds(lambda: made == [])
        await asyncio.sleep(2.2)  # beyond the end of the first one
        assert connection.connected
        assert (await connection.send_text("still there")).seq == 2


@pytest.mark.parametrize("audio", ["binary", "base64"])
async def test_a_turn_with_speech_arrives_whole(voicebus: Voicebus, bus: Bus, audio: str) -> None:
    session_id = (await voicebus.create_session()).session_id
    chunks = [bytes(range(200)) * 4, b"\1\2" * 500]
    async with voicebus.connect(session_id, audio=audio) as connection:  # type: ignore[arg-type] # one of the two
        ack = connection.send_text("say something")
        await answer(bus, session_id, ["It", " is", " noon."], chunks)
        events = await until(connection, lambda event: event.type == "response")
        assert (await ack).seq == 2
        connection.played(1, 0, 20)
        await connection.interrupt()
        await connection.set_mode("text")
    assert marks(events) == ["2", "3", "4", "5", "s1", "s2", "6"]
    assert [event.audio for event in events if event.type == "tts"] == chunks


async def test_cuts_at_any_byte_with_two_gateways_lose_and_repeat_nothing(
    voicebus: Voicebus, balancer: Balancer, bus: Bus
) -> None:
    session_id = (await voicebus.create_session()).session_id
    for _ in range(3):
        await voicebus.send_message(session_id, "say something")
        await answer(bus, session_id, ["It", " is", " noon."], [b"\1\2" * 500, b"\3\4" * 500])
    expected = ["1"]
    for turn in range(3):
        first = 2 + 5 * turn
        expected += [str(seq) for seq in range(first, first + 4)]
        expected += [f"s{2 * turn + 1}", f"s{2 * turn + 2}", str(first + 4)]
    async with balancer.serving() as url, Voicebus(url, token(), options=QUICK) as client:
        for cut in range(150, 9_000, 170):
            balancer.cuts = [cut, cut // 2 + 100]
            async with client.connect(session_id, position=Position.BEGINNING) as connection:
                events = await until(connection, lambda event: event.seq == 16)
            assert marks(events) == expected, f"cut after {cut} bytes"


async def test_messages_have_one_effect_whatever_is_cut(voicebus: Voicebus, balancer: Balancer) -> None:
    session_id = (await voicebus.create_session()).session_id
    texts = [f"text {number}" for number in range(30)]
    balancer.cuts = list(range(400, 2_000, 90))
    async with balancer.serving() as url:
        client = Voicebus(url, token(), options=QUICK)
        async with client, client.connect(session_id) as connection:
            acks = await asyncio.gather(*[connection.send_text(text) for text in texts])
    assert balancer.connections > 3
    assert [ack.seq for ack in acks] == list(range(2, 32))
    async with voicebus.connect(session_id, position=Position.BEGINNING) as connection:
        events = await until(connection, lambda event: event.seq == 31)
    assert [event.data["content"] for event in events if event.type == "user"] == texts


@pytest.mark.parametrize("cuts", [[400, 450, 500, 600, 700, 800], [1_000] * 4, [900, 500, 1_500]])
async def test_microphone_audio_arrives_whole_whatever_is_cut(
    voicebus: Voicebus, balancer: Balancer, bus: Bus, cuts: list[int]
) -> None:
    audio = bytes(i * i % 65_521 % 251 for i in range(200_000))
    session_id = (await voicebus.create_session()).session_id
    balancer.cuts = list(cuts)
    async with (
        balancer.serving() as url,
        Voicebus(url, token(), options=QUICK) as client,
        client.connect(session_id) as connection,
        asyncio.timeout(20),
        connection.audio_stream(sample_rate=48_000) as microphone,
    ):
        for start in range(0, len(audio), 20_000):
            await microphone.write(audio[start : start + 20_000])
            await asyncio.sleep(0.01)
    assert balancer.connections > 1
    lease = await bus.stages("stt", "test").lease(session_id)
    assert lease is not None
    mail = [letter for _, letter in await lease.mail_after("0", most=1_000)]
    assert [type(letter) for letter in (mail[0], mail[-1])] == [AudioStarted, AudioStopped]
    assert b"".join(letter.data for letter in mail if isinstance(letter, AudioChunk)) == audio
    assert sum(isinstance(letter, AudioStarted) for letter in mail) == 1


async def test_one_microphone_a_session(voicebus: Voicebus) -> None:
    session_id = (await voicebus.create_session()).session_id
    async with voicebus.connect(session_id) as first, voicebus.connect(session_id) as second, first.audio_stream():
        with pytest.raises(AudioRefused) as raised:
            await second.audio_stream().__aenter__()
    assert raised.value.code == "audio_busy"


async def test_a_draining_gateway_hands_its_clients_over(
    voicebus: Voicebus, gateway: RunningGateway, settings: BusSettings
) -> None:
    session_id = (await voicebus.create_session()).session_id
    with running_gateway(settings) as leaving:
        balancer = Balancer([leaving.port, gateway.port])
        async with (
            balancer.serving() as url,
            Voicebus(url, token(), options=QUICK) as client,
            client.connect(session_id) as connection,
        ):
            await connection.send_text("before")
            leaving.process.terminate()
            await holds(lambda: balancer.connections == 2)
            await connection.send_text("after")
            events = await until(connection, lambda event: event.seq == 3)
    assert [event.data["content"] for event in events] == ["before", "after"]


async def test_the_end_of_a_session_ends_the_iteration(voicebus: Voicebus) -> None:
    session_id = (await voicebus.create_session()).session_id
    async with voicebus.connect(session_id) as connection:
        await voicebus.end_session(session_id)
        assert [event.type async for event in connection] == ["session_end"]
    async with voicebus.connect(session_id, position=Position.BEGINNING) as connection:
        assert [event.type async for event in connection] == ["session_start", "session_end"]
    async with voicebus.connect(session_id) as connection:
        with pytest.raises(SessionEnded):
            await anext(connection)


async def test_a_position_ahead_of_the_log_is_told_as_a_gap(voicebus: Voicebus) -> None:
    session_id = (await voicebus.create_session()).session_id
    await voicebus.send_message(session_id, "one")
    async with voicebus.connect(session_id, position=Position(seq=50)) as connection:
        gap, snapshot = await anext(connection), await anext(connection)
        await voicebus.send_message(session_id, "two")
        event = await anext(connection)
    assert (gap.type, gap.data["reason"], gap.data["from"], gap.data["to"]) == ("gap", "ahead", 3, 50)
    assert snapshot.type == "state_snapshot"
    assert marks([event]) == ["3"]


async def test_a_redis_that_became_another_one_meanwhile_goes_unnoticed_if_nothing_was_lost(
    voicebus: Voicebus, bus: Bus
) -> None:
    session_id = (await voicebus.create_session()).session_id
    async with voicebus.connect(session_id, position=Position.BEGINNING) as connection:
        await connection.send_text("before")
        await until(connection, lambda event: event.seq == 2)
        position = connection.position
    try:
        await bus.calls.command("REPLICAOF", "127.0.0.1", 1)
    finally:
        await bus.calls.command("REPLICAOF", "NO", "ONE")  # a new master_replid, the same data
    async with voicebus.connect(session_id, position=position) as connection:
        ack = await connection.send_text("after")
        events = await until(connection, lambda event: event.seq == 3)
    assert ack.seq == 3
    assert [event.data["content"] for event in events] == ["after"]
    assert connection.position is not None
    assert position is not None
    assert connection.position.epoch != position.epoch
