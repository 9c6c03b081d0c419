"""Events as a person reads them in a terminal."""

import sys
from collections.abc import Callable
from typing import TextIO

from voicebus_client.events import Event


def summary(event: Event) -> str:
    """What an event says, in one line."""
    write = _SUMMARIES.get(event.type)
    return write(event) if write else ", ".join(f"{name}={value!r}" for name, value in event.data.items())


def log_line(event: Event) -> str:
    """An event as a line of a log: number, time of day, turn, type, and what it says."""
    number = f"s{event.data.get('n')}" if event.type == "tts" else event.seq or "·"
    clock = event.timestamp[11:23] or "·"
    turn = f"turn {event.turn}" if event.turn is not None else ""
    return f"{number!s:>6}  {clock:<12}  {turn:<8}  {event.type:<14}  {summary(event)}".rstrip()


class Terminal:
    """Writes lines, and text that grows within a line."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._grown = False

    def line(self, text: str = "") -> None:
        """A line of its own."""
        self.fresh()
        self._out.write(text + "\n")
        self._out.flush()

    def grow(self, text: str) -> None:
        """Text that goes on in the same line."""
        self._out.write(text)
        self._out.flush()
        self._grown = self._grown or bool(text)

    def note(self, text: str) -> None:
        """A remark beside the output proper."""
        self.fresh()
        self._err.write(text + "\n")
        self._err.flush()

    def fresh(self) -> bool:
        """Ends a line that grew; returns whether there was one."""
        grown, self._grown = self._grown, False
        if grown:
            self._out.write("\n")
            self._out.flush()
        return grown


def _stt(event: Event) -> str:
    return f"{event.data.get('text')!r}" + ("" if event.data.get("is_final") else " …")


def _content(event: Event) -> str:
    return repr(event.data.get("content"))


def _token(event: Event) -> str:
    return repr(event.data.get("token"))


def _call(event: Event) -> str:
    parameters = event.data.get("parameters")
    pairs = parameters.items() if isinstance(parameters, dict) else ()
    return f"{event.data.get('tool_name')}({', '.join(f'{name}={value!r}' for name, value in pairs)})"


def _result(event: Event) -> str:
    return f"{event.data.get('tool_name')} → {event.data.get('result')!r} ({event.data.get('outcome')})"


def _tts(event: Event) -> str:
    data, rate = event.data, event.data.get("sample_rate")
    ms = len(event.audio) * 1000 // (2 * rate) if isinstance(rate, int) and rate > 0 else 0
    return f"{ms} ms of segment {data.get('segment')}, after {data.get('after_seq')}"


def _gap(event: Event) -> str:
    data = event.data
    return f"{data.get('stream')} {data.get('from')} to {data.get('to')} can't be had: {data.get('reason')}"


def _problem(event: Event) -> str:
    return f"{event.data.get('code')}: {event.data.get('message')}"


_SUMMARIES: dict[str, Callable[[Event], str]] = {
    "stt": _stt,
    "user": _content,
    "response": _content,
    "token": _token,
    "tool_call": _call,
    "tool_result": _result,
    "tool_approval_request": _call,
    "tts": _tts,
    "gap": _gap,
    "error": _problem,
    "warning": _problem,
}
