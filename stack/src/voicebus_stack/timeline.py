"""A turn as a timeline in the terminal."""

from collections.abc import Callable, Iterator, Mapping
from textwrap import shorten
from typing import Any

from voicebus_client.events import Event
from voicebus_stack.turn import Turn

_WIDTH = 96


def timeline(turn: Turn) -> Iterator[str]:
    """A line per event: seconds since the turn began, the event, what it says. Tokens and speech are summed up."""
    tokens: list[Event] = []
    chunks: list[Event] = []
    for event in turn.events:
        if event.type == "token":
            tokens.append(event)
            continue
        if event.type == "tts":
            chunks.append(event)
            if event.data["is_last"]:
                yield _speech_line(turn, chunks)
                chunks = []
            continue
        if tokens and event.type in {"response", "tool_call", "interrupted", "error"}:
            yield _line(turn, tokens[0], f"{len(tokens)} from here on")
            tokens = []
        if (says := _SAYS.get(event.type)) is not None:
            yield _line(turn, event, says(event.data))


def _stt(data: Mapping[str, Any]) -> str:
    confidence = f"   confidence {data['confidence']:.2f}" if data.get("confidence") is not None else ""
    return f"{'final' if data['is_final'] else 'partial'}: {data['text']}{confidence}"


def _call(data: Mapping[str, Any]) -> str:
    values = ", ".join(f"{name}={value!r}" for name, value in data["parameters"].items())
    return f"{data['tool_name']}({values})"


_SAYS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "stt": _stt,
    "user": lambda data: f"{data['content']} ({data['input']})",
    "thinking": lambda data: str(data.get("message") or data["status"]),
    "tool_call": _call,
    "tool_result": lambda data: f"{data['result']}   {data['outcome']}, {data['duration_ms']} ms",
    "response": lambda data: str(data["content"]),
    "metric": lambda data: f"{data['name']} = {data['value']:.1f}",
    "error": lambda data: f"{data['code']}: {data['message']}",
    "warning": lambda data: f"{data['code']}: {data['message']}",
    "interrupted": lambda data: f"heard: {data['heard']}",
}


def _speech_line(turn: Turn, chunks: list[Event]) -> str:
    seconds = sum(len(chunk.audio) for chunk in chunks) / 2 / chunks[0].data["sample_rate"]
    text = chunks[0].data.get("text") or ""
    return _line(turn, chunks[0], f"{seconds:.2f} s in {len(chunks)} chunks: {text}")


def _line(turn: Turn, event: Event, text: str) -> str:
    return f"{event.received_s - turn.began_s:8.3f}  {event.type:<12}  {shorten(text, _WIDTH, placeholder=' …')}"
