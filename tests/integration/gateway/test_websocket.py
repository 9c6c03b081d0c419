"""The native WebSocket: who gets in, what comes back, and what others see of it."""

from datetime import timedelta
from typing import Any

import pytest
from jose import jwt
from support.processes import SECRET, RunningGateway
from support.sessions import events_of, open_session
from support.wire import wire

from voicebus.bus.bus import Bus
from voicebus.contract.positions import Position
from voicebus.contract.sessions import NewSession
from voicebus_stack.tokens import make_token

CLAIMS = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": 4_000_000_000}


def signed(**changes: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return str(jwt.encode(claims, SECRET, algorithm="HS256"))


NONE_ALGORITHM = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbGljZSIsImV4cCI6NDAwMDAwMDAwMH0."


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (None, 4401),
        ("nonsense", 4401),
        (NONE_ALGORITHM, 4401),
        (signed(aud="someone-else"), 4401),
        (signed(iss="someone-else"), 4401),
        (signed(sub=None), 4401),
        (signed(sub=""), 4401),
        (signed(exp=None), 4401),
        (signed(exp=1_000), 4401),
        (str(jwt.encode(CLAIMS, "another secret", algorithm="HS256")), 4401),
        (str(jwt.encode(CLAIMS, SECRET, algorithm="HS384")), 4401),
        (make_token(SECRET, "mallory"), 4403),
    ],
)
async def test_who_may_not_come_in_is_told_by_the_close_code(
    gateway: RunningGateway, gateway_bus: Bus, token: str | None, code: int
) -> None:
    session_id = await open_session(gateway_bus)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with wire(gateway, session_id, additional_headers=headers) as client:
        assert await client.close_code() == code
        assert client.seen == []


async def test_a_session_that_never_was_is_4001(gateway: RunningGateway) -> None:
    for name in ("never", "x" * 200, "%7Bcurly%7D"):
        async with wire(gateway, name) as client:
            assert await client.close_code() == 4001


async def test_a_page_of_a_foreign_origin_is_4003_and_an_own_one_comes_in(
    gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(gateway, session_id, origin="http://evil.example") as client:
        assert await client.close_code() == 4003
    async with wire(gateway, session_id, origin="http://localhost:3000") as client:
        assert (await client.receive())["type"] == "welcome"


async def test_a_browser_sends_its_token_as_a_subprotocol(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    offered = ["voicebus.v1", f"bearer.{make_token(SECRET, 'alice')}"]
    async with wire(gateway, session_id, additional_headers={}, subprotocols=offered) as client:
        assert (await client.receive())["type"] == "welcome"
        assert client.socket.subprotocol == "voicebus.v1"


async def test_a_member_may_join(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session, _ = await gateway_bus.sessions.open(NewSession(members=("bob",)), "alice")
    async with wire(gateway, session.session_id, sub="bob") as client:
        assert (await client.receive())["type"] == "welcome"


async def test_several_clients_on_two_gateways_see_the_same_events(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    async with (
        wire(gateway, session_id) as first,
        wire(gateway, session_id) as second,
        wire(other_gateway, session_id) as third,
    ):
        clients = (first, second, third)
        for client in clients:
            await client.until("welcome")
        await first.send(type="text", id="m1", content="hello")
        users = [await client.until("user") for client in clients]
        assert users[0] == users[1] == users[2]
        assert users[0]["data"]["content"] == "hello"


async def test_without_a_position_a_client_gets_what_comes_from_now_on(
    gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus, "before")
    async with wire(gateway, session_id) as client:
        welcome = await client.until("welcome")
        assert (welcome["data"]["seq"], welcome["data"]["resumed"], welcome["data"]["replayed"]) == (2, False, 0)
        await gateway_bus.inbox.submit(session_id, "after", agent_type="personal")
        assert (await client.until("user"))["seq"] == 3


async def test_with_after_zero_everything_kept_is_replayed(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, *(f"text {n}" for n in range(30)))
    async with wire(gateway, session_id, "?after=0") as client:
        welcome = await client.until("welcome")
        assert welcome["data"]["replayed"] == 31
        assert [(await client.receive())["seq"] for _ in range(31)] == list(range(1, 32))


async def test_a_position_ahead_of_the_head_and_an_unknown_epoch_are_gaps(
    gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus, "hello")
    epoch = (await gateway_bus.log.read(session_id, Position())).head.epoch
    async with wire(gateway, session_id, f"?epoch={epoch}&after=90") as client:
        gap = await client.until("gap")
        assert gap["data"] == {"stream": "events", "from": 3, "to": 90, "reason": "ahead"}
        assert (await client.receive())["type"] == "state_snapshot"
    async with wire(gateway, session_id, "?epoch=ffffffff&after=2") as client:
        gap = await client.until("gap")
        assert gap["data"] == {"stream": "events", "from": 1, "to": 2, "reason": "epoch_changed"}
        assert (await client.until("user"))["seq"] == 2


async def test_a_trimmed_range_is_a_gap(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, *(f"text {n}" for n in range(10)))
    await gateway_bus.calls.command("XTRIM", gateway_bus.keys.of(session_id).log, "MINID", "6-0")
    async with wire(gateway, session_id, "?after=2") as client:
        gap = await client.until("gap")
        assert gap["data"] == {"stream": "events", "from": 3, "to": 5, "reason": "trimmed"}
        snapshot = await client.receive()
        assert snapshot["type"] == "state_snapshot"
        assert snapshot["data"]["state"]["turn"] == 10
        assert [(await client.receive())["seq"] for _ in range(6)] == list(range(6, 12))


@pytest.mark.parametrize(
    ("raw", "code", "ref"),
    [
        ("{", "bad_json", None),
        ('{"type":"dance","id":"7"}', "unknown_type", "7"),
        ('{"type":"text","id":"8"}', "bad_message", "8"),
        ('{"type":"text","id":"' + "i" * 10_000 + '","content":"x"}', "bad_message", None),
        ('{"type":"agent_switch","id":"9","agent_type":"nobody"}', "unknown_agent", "9"),
        ('{"type":"tool_approval","id":"a","tool_call_id":"t","approved":true}', "unknown_approval", "a"),
        ('{"type":"audio","id":"b","content":"%%%"}', "bad_message", "b"),
        ('{"type":"audio.stop","id":"c","stream":"none"}', "audio_not_open", "c"),
        ('{"type":"audio.start","id":"d","stream":"s","format":"pcm16","offset":5}', "audio_gap", "d"),
        (b"\0\1", "audio_not_open", None),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_bad_message_gets_its_code_and_the_connection_goes_on(
    gateway: RunningGateway, gateway_bus: Bus, raw: str | bytes, code: str, ref: str | None
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(gateway, session_id) as client, wire(gateway, session_id) as neighbour:
        await neighbour.until("welcome")
        await client.socket.send(raw)
        error = await client.until("error")
        assert (error["data"]["code"], error["data"].get("ref")) == (code, ref)
        await client.send(type="text", id="ok", content="still here")
        assert (await client.until("ack"))["data"]["id"] == "ok"
        await neighbour.until("user")
        assert [message["type"] for message in neighbour.seen] == ["welcome", "user"]


async def test_invalid_utf8_and_a_message_too_big_end_only_that_connection(
    gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(gateway, session_id) as neighbour:
        await neighbour.until("welcome")
        async with wire(gateway, session_id) as client:
            await client.socket.send("x" * 70_000)
            assert await client.close_code() == 1009
        async with wire(gateway, session_id) as client:
            await client.until("welcome")
            await client.socket.send(b"\xff\xfe", text=True)
            assert await client.close_code() == 1007
        await neighbour.send(type="ping")
        assert (await neighbour.receive())["type"] == "pong"


async def test_a_session_that_ends_closes_its_clients_with_4510(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(gateway, session_id) as client:
        await client.until("welcome")
        await gateway_bus.sessions.end(session_id, "deleted")
        assert await client.close_code() == 4510
        assert client.seen[-1]["type"] == "session_end"
    async with wire(gateway, session_id, "?after=0") as late:
        assert await late.close_code() == 4510
        assert [message["type"] for message in late.seen] == ["welcome", "session_start", "session_end"]


async def test_a_token_that_expires_is_announced_and_can_be_renewed(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    short = make_token(SECRET, "alice", lasts=timedelta(seconds=3))
    headers = {"Authorization": f"Bearer {short}"}
    async with (
        wire(gateway, session_id, additional_headers=headers) as renewed,
        wire(gateway, session_id, additional_headers=headers) as forgotten,
    ):
        await renewed.until("token_expiring")
        await renewed.send(type="auth", id="a1", token=make_token(SECRET, "mallory"))
        assert (await renewed.until("error"))["data"]["code"] == "token_invalid"
        await renewed.send(type="auth", id="a2", token=make_token(SECRET, "alice"))
        await renewed.until("ack")
        assert await forgotten.close_code() == 4401
        await renewed.send(type="ping")
        assert (await renewed.receive())["type"] == "pong"


async def test_microphone_audio_is_acknowledged_and_resumed_on_another_gateway(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    start = {"type": "audio.start", "stream": "s1", "format": "pcm16"}
    async with wire(gateway, session_id) as client:
        await client.send(**start, id="m1")
        await client.socket.send(b"ab" * 500)
        await client.until(lambda m: m["type"] == "audio_ack" and m["data"]["offset"] == 1_000)
        await client.socket.send(b"cd" * 500)
        client.cut()
    async with wire(other_gateway, session_id) as client:
        await client.send(**start, id="m2", offset=1_000)
        await client.socket.send(b"cd" * 500 + b"ef")
        await client.until(lambda m: m["type"] == "audio_ack" and m["data"]["offset"] == 2_002)
        await client.send(type="audio.stop", id="m3", stream="s1")
        await client.until("ack")
    lease = await gateway_bus.stages("stt", "w").lease(session_id)
    assert lease is not None
    chunks = [getattr(mail, "data", b"") for _, mail in await lease.mail_after("0-0")]
    assert b"".join(chunks) == b"ab" * 500 + b"cd" * 500 + b"ef"


async def test_events_of_a_cut_client_wait_for_it(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    """Cut in the middle of an answer, it returns with its position, here or at the other gateway."""
    session_id = await open_session(gateway_bus, *(f"text {n}" for n in range(20)))
    got, position = list[int](), "?after=0"
    gateways = [gateway, other_gateway]
    while len(got) < 21:
        async with wire(gateways[len(got) % 2], session_id, position) as client:
            epoch = (await client.until("welcome"))["data"]["epoch"]
            got.append((await client.receive())["seq"])
            client.cut()
        position = f"?epoch={epoch}&after={got[-1]}"
    assert got == [event.seq for event in await events_of(gateway_bus, session_id)]
    assert (await gateway_bus.log.read(session_id, Position(seq=21))).complete
