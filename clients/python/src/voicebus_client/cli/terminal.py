"""Events as a person reads them in a terminal."""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.table import Column, Table
from rich.text import Text

from voicebus_client.events import Event

Part = tuple[str, str]  # text and style

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # lone surrogates can't be written either
_WIDE = 1_000  # columns, where nobody has a screen
_STYLES = {
    "user": "bold blue",
    "stt": "blue",
    "token": "green",
    "response": "bold green",
    "tts": "magenta",
    "tool_call": "cyan",
    "tool_result": "cyan",
    "tool_approval_request": "bold yellow",
    "interrupted": "yellow",
    "response_restarted": "yellow",
    "warning": "yellow",
    "gap": "yellow",
    "error": "bold red",
    "session_start": "bold",
    "session_end": "bold",
}


def summary(event: Event) -> str:
    """What an event says, in one line."""
    write = _SUMMARIES.get(event.type)
    return write(event) if write else ", ".join(f"{name}={value!r}" for name, value in event.data.items())


def log_parts(event: Event) -> tuple[Part, ...]:
    """An event as a line of a log: number, time of day, turn, type, and what it says."""
    number = f"s{event.data.get('n')}" if event.type == "tts" else event.seq or "·"
    clock = event.timestamp[11:23] or "·"
    turn = f"turn {event.turn}" if event.turn is not None else ""
    style = style_of(event)
    return (
        (f"{number!s:>6}  {clock:<12}  ", "dim"),
        (f"{turn:<8}  ", "dim"),
        (f"{event.type:<14}", style),
        (f"  {summary(event)}".rstrip(), "dim" if style == "dim" else ""),
    )


def log_line(event: Event) -> str:
    """The same as plain text."""
    return "".join(text for text, _ in log_parts(event)).rstrip()


def style_of(event: Event) -> str:
    """The colour of a type of event."""
    return _STYLES.get(event.type, "dim" if event.seq is None else "")


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """As the program's other errors: whoever runs the command decides."""
        raise  # noqa: PLE0704 - called while it is handled


def _console(file: TextIO) -> Console:
    width = None if file.isatty() else _WIDE
    return _Console(file=file, width=width, highlight=False, markup=False, emoji=False)


class Terminal:
    """Writes lines, and text that grows within a line; in colour where a person reads it and wants that.

    What it is given comes from others: control characters in it are shown, not obeyed.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self.out = _console(out or sys.stdout)
        self.err = _console(err or sys.stderr)
        self._grown = False

    @property
    def is_read_by_a_person(self) -> bool:
        """Whether the output is a terminal."""
        return self.out.is_terminal

    def line(self, text: str = "", style: str = "") -> None:
        """A line of its own."""
        self.fresh()
        _write(self.out, text, style)

    def parts(self, *parts: Part) -> None:
        """A line of pieces with a style each."""
        self.fresh()
        text = Text.assemble(*((harmless(text), style) for text, style in parts))
        text.rstrip()
        self.out.print(text, soft_wrap=True)
        self.out.file.flush()

    def table(self, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Rows under their columns' names, the first of which holds what is copied: it is folded last. None is cut."""
        columns = [Column(name, overflow="fold", no_wrap=not i) for i, name in enumerate(names)]
        table = Table(*columns, box=None, padding=(0, 1, 0, 0), header_style="bold")
        for row in rows:
            table.add_row(*(Text(harmless(cell)) for cell in row))
        self.fresh()
        self.out.print(table)
        self.out.file.flush()

    def grow(self, text: str, style: str = "") -> None:
        """Text that goes on in the same line."""
        _write(self.out, text, style, end="")
        self._grown = self._grown or bool(text)

    def note(self, text: str, style: str = "") -> None:
        """A remark beside the output proper."""
        self.fresh()
        _write(self.err, text, style)

    def typed(self) -> None:
        """A person has ended the line that grew."""
        self._grown = False

    def fresh(self) -> bool:
        """Ends a line that grew; returns whether there was one."""
        grown, self._grown = self._grown, False
        if grown:
            _write(self.out, "")
        return grown


def _write(console: Console, text: str, style: str = "", end: str = "\n") -> None:
    piece = Segment(harmless(text), console.get_style(style) if style else None)  # a Text would expand its tabs
    console.print(Segments([piece, Segment(end)]), soft_wrap=True)
    console.file.flush()


def harmless(text: str) -> str:
    """The text with control characters in it made visible, but for line ends and tabs."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


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


def _interrupted(event: Event) -> str:
    heard = event.data.get("heard")
    return f"turn {event.data.get('turn')}" + (f", of which was heard {heard!r}" if heard else "")


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
    "interrupted": _interrupted,
    "error": _problem,
    "warning": _problem,
}
