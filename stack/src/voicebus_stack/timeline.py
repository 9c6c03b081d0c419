"""A turn as a timeline in the terminal."""

from collections.abc import Callable, Iterator, Mapping
from textwrap import shorten
from typing import Any

from voicebus_client.events import Event
from voicebus_stack.turn import Turn

_WIDTH = 96


def timeline(turn: Turn) -> list[str]:
    """A line per event: seconds since the turn began, the event, what it says. Tokens and speech are summed up."""
    rows = sorted(_rows(turn), key=lambda row: row[0].received_s)
    return [f"{event.received_s - turn.began_s:8.3f}  {event.type:<12}  {text}" for event, text in rows]


def _rows(turn: Turn) -> Iterator[tuple[Event, str]]:
    tokens: list[Event] = []
    chunks: list[Event] = []
    for event in turn.events:
        if event.type == "token":
            tokens.append(event)
            continue
        if event.type == "tts":
            chunks.append(event)
            if event.data["is_last"]:
                yield chunks[0], _speech(chunks)
                chunks = []
            continue
        if tokens and event.type in {"response", "tool_call", "interrupted", "error"}:
            yield tokens[0], f"{len(tokens)} from here on"
            tokens = []
        if (says := _SAYS.get(event.type)) is not None:
            yield event, says(event.data)


def _brief(text: object) -> str:
    return shorten(str(text), _WIDTH, placeholder=" …")


def _stt(data: Mapping[str, Any]) -> str:
    confidence = f"   confidence {data['confidence']:.2f}" if data.get("confidence") is not None else ""
    return _brief(f"{'final' if data['is_final'] else 'partial'}: {data['text']}") + confidence


def _call(data: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in data["parameters"].items())
    return _brief(f"{data['tool_name']}({values})")


_SAYS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "stt": _stt,
    "user": lambda data: _brief(f"{data['content']} ({data['input']})"),
    "thinking": lambda data: _brief(data.get("message") or data["status"]),
    "tool_call": _call,
    "tool_result": lambda data: f"{_brief(data['result'])}   {data['outcome']}, {data['duration_ms']} ms",
    "response": lambda data: _brief(data["content"]),
    "metric": lambda data: f"{data['name']} = {data['value']:.1f}",
    "error": lambda data: _brief(f"{data['code']}: {data['message']}"),
    "warning": lambda data: _brief(f"{data['code']}: {data['message']}"),
    "interrupted": lambda data: _brief(f"heard: {data['heard']}"),
}


def _speech(chunks: list[Event]) -> str:
    seconds = sum(len(chunk.audio) for chunk in chunks) / 2 / chunks[0].data["sample_rate"]
    number = "1 chunk" if len(chunks) == 1 else f"{len(chunks)} chunks"
    return _brief(f"{seconds:.2f} s in {number}: {chunks[0].data.get('text') or ''}")
