"""The codec: every event and command survives the way through bytes; bad input has a code."""

from contextlib import suppress
from typing import Any, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.strategies import a_model

from voicebus.contract import codec, commands, events, mail, payloads
from voicebus.contract.errors import BadRequest

EVENTS = get_args(events.Event)
COMMANDS = get_args(commands.Command)
SOME = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("model", EVENTS, ids=lambda model: model.__name__)
def test_every_event_comes_back_from_its_bytes(model: type[events.Envelope]) -> None:
    @SOME
    @given(a_model(model))
    def round_trip(event: Any) -> None:
        once = codec.load_event(codec.dump_event(event))
        assert codec.dump_event(once) == codec.dump_event(event)
        assert type(once) is model

    round_trip()


@pytest.mark.parametrize("model", COMMANDS, ids=lambda model: model.__name__)
def test_every_command_comes_back_from_its_bytes(model: type[payloads.Frozen]) -> None:
    @SOME
    @given(a_model(model))
    def round_trip(command: Any) -> None:
        assert codec.load_command(command.model_dump_json(), limit=1_000_000) == command

    round_trip()


@given(a_model(mail.UserTurn), st.integers(1, 10_000))
def test_the_turn_that_a_script_wrote_is_the_mails_turn(sent: mail.UserTurn, turn: int) -> None:
    fields = {b"k": b"user", b"t": str(turn).encode(), b"d": codec.mail_body(sent)}
    assert codec.load_mail(fields) == sent.model_copy(update={"turn": turn})


def test_an_event_body_wants_a_brace_and_a_seq_in_front() -> None:
    event = events.Token(session_id="s", data=payloads.TokenData(token="hi", response_id="r"))
    raw = b'{"seq":7,"turn":3,' + codec.event_body(event)
    assert codec.load_event(raw) == event.model_copy(update={"seq": 7, "turn": 3})


def test_speech_halves_enclose_what_the_script_writes() -> None:
    envelope = events.Envelope(session_id="s", turn=2)
    head, tail = codec.speech_halves(
        envelope, segment=1, sample_rate=16_000, is_last=True, response_id="r", text='say "hi"'
    )
    data = orjson.loads(head + b'"n":5,"after_seq":9,' + tail)["data"]
    assert data == {
        "n": 5,
        "after_seq": 9,
        "segment": 1,
        "codec": "pcm16",
        "sample_rate": 16_000,
        "is_last": True,
        "text": 'say "hi"',
        "response_id": "r",
    }


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("{", "bad_json"),
        ("", "bad_json"),
        ("[1]", "bad_message"),
        ('"text"', "bad_message"),
        (b'{"type":"text","content":"\xff"}', "bad_encoding"),
        ('{"type":"text","content":"\ud800"}', "bad_encoding"),
        ('{"type":"dance"}', "unknown_type"),
        ("{}", "unknown_type"),
        ('{"type":"text"}', "bad_message"),
        ('{"type":"text","content":7}', "bad_message"),
        ('{"type":"text","content":"x","id":"' + "i" * 10_000 + '"}', "bad_message"),
        ('{"type":"text","content":"x","id":""}', "bad_message"),
        ('{"type":"audio.start","stream":"a b","format":"pcm16"}', "bad_message"),
        ('{"type":"audio.start","stream":"a","format":"mp3"}', "bad_message"),
        ('{"type":"audio.start","stream":"a","format":"pcm16","sample_rate":1}', "bad_message"),
        ('{"type":"audio.start","stream":"a","format":"pcm16","offset":-1}', "bad_message"),
        ('{"type":"text","content":"' + "x" * 70_000 + '"}', "message_too_big"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_messages_have_a_code(raw: str | bytes, code: str) -> None:
    with pytest.raises(BadRequest) as caught:
        codec.load_command(raw)
    assert caught.value.code == code


def test_bare_content_is_text() -> None:
    assert codec.load_command('{"content":"hello"}') == commands.Text(content="hello")


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_is_refused_with_a_known_code_and_nothing_else(raw: bytes | str) -> None:
    with suppress(BadRequest):  # whose codes are keys of the table: any other one fails to be made
        codec.load_command(raw)


@pytest.mark.parametrize(
    ("raw", "ref"),
    [
        ('{"id":"7","type":"x"}', "7"),
        ('{"id":7}', None),
        ("[]", None),
        ("{", None),
        ('{"id":"' + "x" * 65 + '"}', None),
    ],
)
def test_a_refusal_names_the_message_where_it_can(raw: str, ref: str | None) -> None:
    assert codec.message_ref(raw) == ref


@SOME
@given(a_model(events.Token))
def test_tokens_of_a_response_are_serialised_as_events_are(token: events.Token) -> None:
    fields = token.model_dump(include={"session_id", "agent_type", "turn", "metadata"})
    bodies = codec.TokenBodies(token.data.response_id, **fields)
    body = bodies.of(token.data.token)
    written = codec.load_event(b"{" + body)
    again = token.model_copy(update={"seq": None, "timestamp": written.timestamp})
    assert body == codec.event_body(again)


@given(a_model(events.AudioAck))
def test_acknowledgements_of_a_stream_are_serialised_as_events_are(ack: events.AudioAck) -> None:
    fields = ack.model_dump(include={"session_id", "agent_type", "turn", "metadata"})
    written = codec.AudioAckBodies(ack.data.stream, **fields).of(ack.data.offset)
    loaded = codec.load_event(written)
    assert written == codec.dump_event(ack.model_copy(update={"seq": None, "timestamp": loaded.timestamp}))
