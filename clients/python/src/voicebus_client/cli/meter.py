"""A bar that shows a person how far a recording has been spoken, and what was understood so far."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from voicebus_client.cli.terminal import Terminal, harmless


class Meter:
    """Drawn only for a person; nothing of it stays on the screen."""

    every_s = 0.1  # how often it is worth to be told

    def __init__(self, progress: Progress, duration_s: float) -> None:
        self._progress = progress
        self._duration_s = duration_s
        self._task: TaskID = progress.add_task("", total=duration_s, time="", heard="")

    def spoken(self, seconds: float) -> None:
        """So much was sent."""
        time = f"{seconds:.1f}/{self._duration_s:.1f} s" if seconds < self._duration_s else "waiting for the answer"
        self._progress.update(self._task, completed=seconds, time=time)

    def heard(self, text: str) -> None:
        """What is understood of the utterance that is open."""
        self._progress.update(self._task, heard=harmless(text).replace("\n", " "))


@contextmanager
def metering(terminal: Terminal, duration_s: float) -> Iterator[Meter]:
    """The bar, at the bottom of the screen while inside; lines go above it."""
    columns = (
        BarColumn(bar_width=24),
        TextColumn("{task.fields[time]}", style="dim"),
        TextColumn("{task.fields[heard]}", style="blue", markup=False),
    )
    disabled = not terminal.is_read_by_a_person
    with Progress(*columns, console=terminal.out, transient=True, disable=disabled, refresh_per_second=10) as progress:
        yield Meter(progress, duration_s)
