"""Whatever a client sends, it gets a stable code, and nobody else notices.

A neighbour in the same session and one in another session talk before, meanwhile and behind; what they were told is
accepted stands in the log, and what was refused left nothing for a worker to trip over.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from jose import jwt
from support.processes import SECRET, RunningGateway, bearer_of
from support.sessions import events_of, open_session
from support.wire import Message, Wire, wire
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from voicebus.bus.bus import Bus
from voicebus.contract.events import User
from voicebus.contract.keys import Stage

CLAIMS = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": 4_000_000_000}


async def said_in(bus: Bus, session_id: str) -> list[str]:
    """The texts that opened the session's turns."""
    return [event.data.content for event in await events_of(bus, session_id) if isinstance(event, User)]


def acknowledges(message_id: str) -> Callable[[Message], bool]:
    return lambda message: message["type"] == "ack" and message["data"]["id"] == message_id


@dataclass
class Neighbours:
    """Well-behaved clients: one in the session, one in another session."""

    bus: Bus
    session_id: str
    clients: dict[str, Wire]  # by session
    accepted: dict[str, list[str]] = field(default_factory=dict)  # texts, by session

    async def talk(self) -> None:
        """Each says something, is told that it is accepted, and sees it."""
        for session_id, client in self.clients.items():
            text = uuid4().hex
            await client.send(type="text", id=text, content=text)
            await client.until(acknowledges(text))
            self.accepted.setdefault(session_id, []).append(text)

    async def noticed_nothing(self) -> None:
        """Nothing but the conversation came to them, and all of it is in the logs."""
        for session_id, client in self.clients.items():
            assert {message["type"] for message in client.seen} <= {"welcome", "ack", "user"}
            said = await said_in(self.bus, session_id)
            assert [text for text in said if text in self.accepted[session_id]] == self.accepted[session_id]

    async def nothing_waits_for(self, *stages: Stage) -> None:
        """No refused message left mail for these stages."""
        for stage in stages:
            assert await self.bus.calls.command("XLEN", self.bus.keys.of(self.session_id).mail(stage)) == 0


@asynccontextmanager
async def neighbours_at(gateway: RunningGateway, bus: Bus, session_id: str) -> AsyncIterator[Neighbours]:
    """They talk at the beginning and at the end."""
    async with AsyncExitStack() as stack:
        clients = {}
        for each in (session_id, await open_session(bus)):
            clients[each] = await stack.enter_async_context(wire(gateway, each))
            await clients[each].until("welcome")
        neighbours = Neighbours(bus, session_id, clients)
        await neighbours.talk()
        yield neighbours
        await neighbours.talk()
        await neighbours.noticed_nothing()


@pytest.fixture
async def session_id(gateway_bus: Bus) -> str:
    return await open_session(gateway_bus)


@pytest.fixture
async def neighbours(gateway: RunningGateway, gateway_bus: Bus, session_id: str) -> AsyncIterator[Neighbours]:
    async with neighbours_at(gateway, gateway_bus, session_id) as those:
        yield those


def message(**fields: Any) -> str:
    return json.dumps({"id": "bad", **fields})


def start(**fields: Any) -> str:
    return message(**{"type": "audio.start", "stream": "s", "format": "pcm16"} | fields)


def clip(content: str | bytes, **fields: Any) -> str:
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return message(type="audio", content=text, **fields)


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


BAD = [
    # garbage
    ("", "bad_json", None),
    ("{", "bad_json", None),
    ('{"type":"text","content":"a"} {}', "bad_json", None),
    ("nul", "bad_json", None),
    ("NaN", "bad_json", None),
    ("null", "bad_message", None),
    ("[]", "bad_message", None),
    ("7", "bad_message", None),
    ('"text"', "bad_message", None),
    # types
    (message(), "unknown_type", "bad"),
    (message(type="dance"), "unknown_type", "bad"),
    (message(type=None), "unknown_type", "bad"),
    (message(type=["text"]), "unknown_type", "bad"),
    (message(type={"text": 1}), "unknown_type", "bad"),
    (message(type="t" * 10_000), "unknown_type", "bad"),
    # missing and wrong fields
    (message(type="text"), "bad_message", "bad"),
    (message(type="text", content=None), "bad_message", "bad"),
    (message(type="text", content=7), "bad_message", "bad"),
    (message(type="text", content=["a"]), "bad_message", "bad"),
    (message(type="text", content="a", on_busy="shout"), "bad_message", "bad"),
    (message(type="text", content="a", id=7), "bad_message", None),
    (message(type="text", content="a", id=""), "bad_message", None),
    (message(type="text", content="a", id="i" * 10_000), "bad_message", None),
    (message(type="mode", mode="song"), "bad_message", "bad"),
    (message(type="agent_switch"), "bad_message", "bad"),
    (message(type="agent_switch", agent_type="nobody"), "unknown_agent", "bad"),
    (message(type="played", turn=1, segment=0), "bad_message", "bad"),
    (message(type="played", turn="one", segment=0, ms=0), "bad_message", "bad"),
    (message(type="interrupt", turn=0), "bad_message", "bad"),
    (message(type="interrupt", played_ms=-1), "bad_message", "bad"),
    (message(type="tool_approval", tool_call_id="t", approved="perhaps"), "bad_message", "bad"),
    (message(type="tool_approval", tool_call_id="t", approved=True), "unknown_approval", "bad"),
    (message(type="auth"), "bad_message", "bad"),
    (message(type="auth", token="nonsense"), "token_invalid", "bad"),
    # encodings inside of JSON
    ('{"type":"text","id":"bad","content":"\\ud800"}', "bad_encoding", None),
    ('{"type":"text","id":"\\udfff","content":"a"}', "bad_encoding", None),
    ('{"type":"text","content":"\\q"}', "bad_json", None),
    # absurd sizes
    ('{"type":"text","content":"a","more":' + nested(2_000) + "}", "bad_json", None),
    ('{"type":"text","content":"a","more":1e400}', "bad_json", None),
    (message(type="interrupt", turn=10**30), "bad_message", "bad"),
    (message(type="interrupt", played_ms=2**53 + 1), "bad_message", "bad"),
    (message(type="played", turn=1, segment=2**60, ms=0), "bad_message", "bad"),
    (message(type="played", turn=1, segment=0, ms=2**64), "bad_message", "bad"),
    (message(type="auth", token="t" * 20_000), "bad_message", "bad"),
    # audio
    (b"\0\1", "audio_not_open", None),
    (b"", "audio_not_open", None),
    (start(stream=None), "bad_message", "bad"),
    (start(stream="a b"), "bad_message", "bad"),
    (start(stream="s" * 65), "bad_message", "bad"),
    (start(format=None), "bad_message", "bad"),
    (start(format="mp3"), "bad_message", "bad"),
    (start(sample_rate=7_999), "bad_message", "bad"),
    (start(sample_rate=10**9), "bad_message", "bad"),
    (start(sample_rate=16_000.5), "bad_message", "bad"),
    (start(channels=0), "bad_message", "bad"),
    (start(channels=10**6), "bad_message", "bad"),
    (start(offset=-1), "bad_message", "bad"),
    (start(offset=1), "audio_gap", "bad"),
    (start(offset=2**53), "audio_gap", "bad"),
    (start(offset=2**53 + 1), "bad_message", "bad"),
    (start(offset=10**40), "bad_message", "bad"),
    (message(type="audio.stop", stream="none"), "audio_not_open", "bad"),
    (clip("%%%"), "bad_message", "bad"),
    (clip("é"), "bad_message", "bad"),
    (clip("AAA"), "bad_message", "bad"),
    (clip(bytes(3), format="pcm16"), "audio_invalid", "bad"),
    (clip(bytes(6), format="pcm16", channels=2), "audio_invalid", "bad"),
    (clip(bytes(4), format="mp3"), "bad_message", "bad"),
]


@pytest.mark.parametrize(("raw", "code", "ref"), BAD, ids=lambda value: str(value)[:60])
async def test_a_bad_message_is_refused_with_its_code(
    gateway: RunningGateway, neighbours: Neighbours, raw: str | bytes, code: str, ref: str | None
) -> None:
    async with wire(gateway, neighbours.session_id) as client:
        await client.send(type="text", id="before", content="before")
        await client.until("ack")
        await client.socket.send(raw)
        await client.send(type="text", id="behind", content="behind")
        answer = await client.until(lambda m: m["type"] == "error" or acknowledges("behind")(m))
        assert (answer["data"].get("code"), answer["data"].get("ref")) == (code, ref)
        await neighbours.talk()
        await client.until(acknowledges("behind"))
    await neighbours.nothing_waits_for("stt", "tts")
    said = await said_in(neighbours.bus, neighbours.session_id)
    assert ("before" in said, "behind" in said, len(said)) == (True, True, 4)


def frames_of(pieces: list[tuple[Opcode, bytes, bool]]) -> bytes:
    return b"".join(Frame(code, data, fin=fin).serialize(mask=True) for code, data, fin in pieces)


FATAL = {
    "text that is not UTF-8": (frames_of([(Opcode.TEXT, b"\xff\xfe", True)]), 1007),
    "half a character": (frames_of([(Opcode.TEXT, b"\xc3", False), (Opcode.CONT, b"", True)]), 1007),
    "a message too big": (frames_of([(Opcode.TEXT, b"x" * 65_537, True)]), 1009),
    "a huge message": (frames_of([(Opcode.TEXT, b"x" * 8_000_000, True)]), 1009),
    "an audio frame too big": (frames_of([(Opcode.BINARY, bytes(65_537), True)]), 1009),
    "pieces too big together": (
        frames_of([(Opcode.TEXT, b"x", False)] + [(Opcode.CONT, b"x" * 40_000, False)] * 2),
        1009,
    ),
    "a message that names an absurd length": (b"\x81\xff" + b"\x7f" + b"\xff" * 7 + bytes(4), 1009),
    "a frame without a mask": (b"\x81\x01a", 1002),
    "a piece of nothing": (frames_of([(Opcode.CONT, b"x", True)]), 1002),
    "an unknown kind of frame": (b"\x83\x80" + bytes(4), 1002),
}


@pytest.mark.parametrize("kind", FATAL)
async def test_a_frame_that_cannot_be_read_ends_its_connection_with_a_code(
    gateway: RunningGateway, neighbours: Neighbours, kind: str
) -> None:
    """The code arrives, however much the client has sent on meanwhile."""
    data, code = FATAL[kind]
    async with wire(gateway, neighbours.session_id, close_timeout=30) as client:
        await client.send(type="text", id="before", content="before")
        await client.until("ack")
        client.socket.transport.write(data)
        await neighbours.talk()
        assert await client.close_code() == code
    said = await said_in(neighbours.bus, neighbours.session_id)
    assert "before" in said


@pytest.mark.parametrize(
    "other",
    [
        {"type": "text", "content": "other"},
        {"type": "mode", "mode": "text"},
        {"type": "agent_switch", "agent_type": "family"},
        {"type": "audio.start", "stream": "s", "format": "pcm16"},
        {"type": "audio", "content": "AAAA", "format": "wav"},
        {"type": "interrupt"},
    ],
    ids=lambda other: other["type"],
)
async def test_an_id_that_was_used_for_something_else_is_a_conflict(
    gateway: RunningGateway, neighbours: Neighbours, other: dict[str, Any]
) -> None:
    async with wire(gateway, neighbours.session_id) as client:
        await client.send(type="text", id="m", content="first")
        seq = (await client.until("ack"))["data"]["seq"]
        await client.send(**other, id="m")
        error = await client.until("error")
        assert (error["data"]["code"], error["data"]["ref"]) == ("id_conflict", "m")
        await client.send(type="text", id="m", content="first")
        assert (await client.until("ack"))["data"] == {"id": "m", "seq": seq}
    await neighbours.nothing_waits_for("stt", "tts")
    log = await events_of(neighbours.bus, neighbours.session_id)
    assert [event.type for event in log] == ["session_start", "user", "user"]


async def test_bytes_of_a_stream_count_once_whatever_offsets_and_sizes_a_client_sends(
    gateway: RunningGateway, neighbours: Neighbours
) -> None:
    """Offsets that go back repeat what is there, those that jump ahead are refused; samples may be cut anywhere."""
    voice = bytes(range(256)) * 8
    async with wire(gateway, neighbours.session_id) as client:

        async def safe_to(offset: int) -> None:
            await client.until(lambda m: m["type"] == "audio_ack" and m["data"]["offset"] == offset)

        async def refused(code: str) -> None:
            assert (await client.until("error"))["data"]["code"] == code

        await client.socket.send(start(id="a"))
        await client.socket.send(voice[:1_001])
        await safe_to(1_001)
        await client.socket.send(start(id="b", offset=5_000))
        await refused("audio_gap")
        await client.socket.send(start(id="c", stream="another"))
        await refused("audio_busy")
        await client.socket.send(start(id="d", sample_rate=48_000, offset=1_001))
        await refused("id_conflict")
        await neighbours.talk()
        await client.socket.send(start(id="e", offset=400))
        await client.socket.send(voice[400:1_500])
        await safe_to(1_500)
        await client.socket.send(voice[1_500:2_047])
        await client.send(type="audio.stop", id="f", stream="s")
        await client.until(acknowledges("f"))
    lease = await neighbours.bus.stages("stt", "w").lease(neighbours.session_id)
    assert lease is not None
    mails = [mail for _, mail in await lease.mail_after("0-0")]
    assert b"".join(getattr(mail, "data", b"") for mail in mails) == voice[:2_047]
    assert [mail.kind for mail in mails if mail.kind != "audio"] == ["start", "stop"]


def signed(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token with any header, rightly signed by HMAC-SHA-256."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    mac = hmac.new(SECRET.encode(), b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


HS256 = {"alg": "HS256", "typ": "JWT"}
TOKENS = {
    "alg none, unsigned": (signed({"alg": "none"}, CLAIMS).rpartition(".")[0] + ".", "token_invalid"),
    "alg none, signed": (signed({"alg": "none"}, CLAIMS), "token_invalid"),
    "alg in an odd type": (signed({"alg": {}}, CLAIMS), "token_invalid"),
    "no alg": (signed({}, CLAIMS), "token_invalid"),
    "another algorithm": (str(jwt.encode(CLAIMS, SECRET, algorithm="HS512")), "token_invalid"),
    "another key": (str(jwt.encode(CLAIMS, "another", algorithm="HS256")), "token_invalid"),
    "a wrong audience": (signed(HS256, CLAIMS | {"aud": "others"}), "token_invalid"),
    "an odd audience": (signed(HS256, CLAIMS | {"aud": {"a": 1}}), "token_invalid"),
    "a wrong issuer": (signed(HS256, CLAIMS | {"iss": "others"}), "token_invalid"),
    "expired": (signed(HS256, CLAIMS | {"exp": 1_000}), "token_expired"),
    "an odd expiry": (signed(HS256, CLAIMS | {"exp": {}}), "token_invalid"),
    "without sub": (signed(HS256, {k: v for k, v in CLAIMS.items() if k != "sub"}), "token_invalid"),
    "an odd sub": (signed(HS256, CLAIMS | {"sub": 7}), "token_invalid"),
    "half a character as sub": (signed(HS256, CLAIMS | {"sub": "\ud800"}), "token_invalid"),
    "claims that are a list": (signed(HS256, ["alice"]), "token_invalid"),  # type: ignore[arg-type]
    "two dots": ("..", "token_invalid"),
    "not even a token": ("nonsense", "token_invalid"),
    "a very long one": ("t" * 8_000, "token_invalid"),
}


@pytest.mark.parametrize("kind", TOKENS)
async def test_a_bad_token_opens_nothing(gateway: RunningGateway, neighbours: Neighbours, kind: str) -> None:
    token, code = TOKENS[kind]
    headers = {"Authorization": f"Bearer {token}"}
    async with wire(gateway, neighbours.session_id, additional_headers=headers) as client:
        with suppress(ConnectionClosed):
            await client.receive()
        assert (client.socket.close_code, client.socket.close_reason, client.seen) == (4401, code, [])
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        answer = await http.get("/ai/sessions")
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await http.post("/ai/sessions")).status_code == 401
    await neighbours.talk()


@pytest.mark.parametrize(
    "which", ["someone else's", "one that never was", "a name that no session has", "one that ended"]
)
async def test_a_session_that_is_not_open_to_the_caller_says_so(
    gateway: RunningGateway, gateway_bus: Bus, neighbours: Neighbours, which: str
) -> None:
    caller, name = "alice", neighbours.session_id
    close, status, code, read = 4001, 404, "session_not_found", 404
    if which == "someone else's":
        caller, close = "mallory", 4403
    elif which == "one that never was":
        name = "never"
    elif which == "a name that no session has":
        name = "%7Bno%7D" + "x" * 100
    else:
        name = await open_session(gateway_bus, "hello")
        await gateway_bus.sessions.end(name, "deleted")
        close, status, code, read = 4510, 410, "session_ended", 200
    async with wire(gateway, name, sub=caller) as client:
        assert await client.close_code() == close
    async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of(caller)) as http:
        answer = await http.post(f"/ai/sessions/{name}/message", json={"content": "let me in"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await http.get(f"/ai/sessions/{name}")).status_code == read
        if status == 404:
            assert (await http.delete(f"/ai/sessions/{name}")).status_code == 404
    await neighbours.talk()


@pytest.mark.parametrize(
    "query",
    [
        *("after=-1", "after=one", "after=1e3", "after=", f"after={10**30}"),
        *("speech=-1", f"speech={2**53 + 1}", "audio=mp3", f"epoch={'e' * 65}&after=1"),
    ],
)
async def test_a_position_that_is_none_is_a_bad_query(
    gateway: RunningGateway, neighbours: Neighbours, query: str
) -> None:
    async with wire(gateway, neighbours.session_id, f"?{query}") as client:
        assert await client.close_code() == 4400
        assert client.socket.close_reason == "bad_query"
    await neighbours.talk()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "bad_message"),
        (b"{", 400, "bad_json"),
        (b"\xff", 400, "bad_json"),
        (b"[]", 422, "bad_message"),
        (b"{}", 422, "bad_message"),
        (b'{"content":7}', 422, "bad_message"),
        (b'{"content":""}', 422, "bad_message"),
        (b'{"content":"\\ud800"}', 422, "bad_message"),
        (b'{"content":"a","id":""}', 422, "bad_message"),
        (b'{"content":"a","id":7}', 422, "bad_message"),
        (b'{"content":"a","id":"\\udc00"}', 422, "bad_message"),
        (b'{"content":"a","id":"' + b"i" * 10_000 + b'"}', 422, "bad_message"),
        (b'{"content":"a","more":' + b"9" * 5_000 + b"}", 400, "bad_json"),
        (b'{"content":"a","more":' + nested(9_000).encode() + b"}", 400, "bad_json"),
        (b'{"content":"' + b"a" * 70_000 + b'"}', 413, "message_too_big"),
        (b'{"content":"other","id":"used"}', 409, "id_conflict"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_request_is_refused_with_its_code(
    gateway: RunningGateway, neighbours: Neighbours, body: bytes, status: int, code: str
) -> None:
    headers = bearer_of("alice") | {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        path = f"/ai/sessions/{neighbours.session_id}/message"
        first = await http.post(path, json={"id": "used", "content": "first"})
        answer = await http.post(path, content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        await neighbours.talk()
        again = await http.post(path, json={"id": "used", "content": "first"})
        assert (again.status_code, again.json()["seq"]) == (202, first.json()["seq"])
