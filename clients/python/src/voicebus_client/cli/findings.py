"""What `doctor` finds, and how it looks."""

from dataclasses import dataclass
from typing import Literal

from voicebus_client.cli.terminal import Part, Terminal

Mark = Literal["good", "warning", "wrong"]
_MARKS: dict[Mark, Part] = {"good": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "bold red")}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` says what to do about it."""

    mark: Mark
    name: str
    text: str
    advice: str = ""


def good(name: str, text: str) -> Finding:
    """As it should be."""
    return Finding("good", name, text)


def warning(name: str, text: str, advice: str) -> Finding:
    """It works, but not for long, or not well."""
    return Finding("warning", name, text, advice)


def wrong(name: str, text: str, advice: str) -> Finding:
    """It doesn't work."""
    return Finding("wrong", name, text, advice)


def show(terminal: Terminal, finding: Finding) -> None:
    """One line, and one more for what to do."""
    mark, style = _MARKS[finding.mark]
    terminal.parts(
        (mark, style), (f" {finding.name:<14} ", "bold"), (finding.text, "" if finding.mark == "good" else style)
    )
    if finding.advice:
        terminal.parts((f"  {'':<14} → {finding.advice}", "dim"))
