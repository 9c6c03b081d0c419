"""Whatever a client sends, it gets a stable code, and nobody else notices.

A neighbour in the same session and one in another session talk before, meanwhile and behind; what they were told is
accepted stands in the log, and what was refused left nothing for a worker to trip over.
"""

import base64
import json
from typing import Any

import pytest
from integration.gateway.neighbours import Neighbours, acknowledges, nested, said_in
from support.processes import RunningGateway
from support.sessions import events_of
from support.wire import wire
from websockets.frames import Frame, Opcode


def message(**fields: Any) -> str:
    return json.dumps({"id": "bad", **fields})


def start(**fields: Any) -> str:
    return message(**{"type": "audio.start", "stream": "s", "format": "pcm16"} | fields)


def clip(content: str | bytes, **fields: Any) -> str:
    text = content if isinstance(content, str) else base64.b64encode(content).decode()
    return message(type="audio", content=text, **fields)


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
