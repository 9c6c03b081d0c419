"""`say`: speaks a WAV file to a session and waits for the answer."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voicebus_client.cli.meter import Meter, metering
from voicebus_client.cli.player import Player, find_player
from voicebus_client.cli.terminal import Terminal, log_line, style_of, summary
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.microphone import Microphone
from voicebus_client.turns import Turns
from voicebus_client.wav import Recording, SpeechFile, feed, read_wav

_HIDDEN = ("token", "tts", "metric")
_SHOWN = ("tool_call", "tool_result", "tool_approval_request", "interrupted", "gap", "error", "warning", "session_end")


@dataclass(frozen=True, slots=True)
class Output:
    """Where the answer's speech goes: to a file, and from there perhaps to a player."""

    path: Path | None
    player: Player | None


async def say(
    bus: Voicebus,
    terminal: Terminal,
    recording: Recording,
    *,
    session_id: str | None,
    save: Path | None,
    patience_s: float,
) -> None:
    """Feeds the recording in real time, prints what happens, and saves the speech, or plays it to a person.

    Without a session it makes one, and ends it. It waits at most `patience_s` seconds for each event that is due.

    Raises:
        VoicebusError: the server refused, or `no_answer`.
    """
    made = None if session_id else await bus.create_session(mode="voice")
    session_id = made.session_id if made else session_id or ""
    try:
        with _output(terminal, save) as output:
            async with bus.connect(session_id) as connection:
                spoken = await _converse(connection, terminal, recording, output.path, patience_s)
            await _hand_out(terminal, output, spoken=spoken)
    finally:
        if made:
            await bus.end_session(made.session_id)


@contextmanager
def _output(terminal: Terminal, save: Path | None) -> Iterator[Output]:
    player = find_player() if save is None and terminal.is_read_by_a_person else None
    if player is None:
        yield Output(save, None)
        return
    with TemporaryDirectory(prefix="voicebus-") as folder:
        yield Output(Path(folder) / "answer.wav", player)


async def _converse(
    connection: Connection, terminal: Terminal, recording: Recording, path: Path | None, patience_s: float
) -> bool:
    """Returns whether speech came, and is in the file."""
    spec = recording.spec
    microphone = connection.audio_stream(spec.format, sample_rate=spec.sample_rate, channels=spec.channels)
    with SpeechFile(path) as speech, metering(terminal, recording.duration_s) as meter:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(microphone, recording))
            measuring = group.create_task(_measure(microphone, recording, meter))
            await _Follower(connection, terminal, meter, speech).follow(feeding, patience_s)
            measuring.cancel()
        return speech.begun


async def _feed(microphone: Microphone, recording: Recording) -> None:
    async with microphone:
        await feed(microphone, recording)


async def _measure(microphone: Microphone, recording: Recording, meter: Meter) -> None:
    while True:
        meter.spoken(recording.duration_s * microphone.written / max(1, len(recording.data)))
        await asyncio.sleep(meter.every_s)


class _Follower:
    """Shows what comes of it: to a person in short, else as lines of a log."""

    def __init__(self, connection: Connection, terminal: Terminal, meter: Meter, speech: SpeechFile) -> None:
        self._connection = connection
        self._terminal = terminal
        self._meter = meter
        self._speech = speech

    async def follow(self, feeding: asyncio.Task[None], patience_s: float) -> None:
        """Until everything was spoken and answered.

        Raises:
            VoicebusError: `no_answer`.
        """
        turns = Turns()
        coming: asyncio.Future[Event] | None = None
        try:
            while not (feeding.done() and turns.any and turns.done):
                coming = coming or asyncio.ensure_future(anext(self._connection))
                waiting: set[asyncio.Future[Any]] = {coming} if feeding.done() else {coming, feeding}
                done, _ = await asyncio.wait(waiting, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
                if coming in done:
                    event, coming = _event_of(coming), None
                    turns.see(event)
                    self._take(event)
                elif not done and feeding.done():
                    raise VoicebusError("no_answer", f"nothing came for {patience_s:g} s", temporary=True)
        finally:
            if coming is not None:
                coming.cancel()

    def _take(self, event: Event) -> None:
        if event.type == "tts":
            self._speech.add(event)
        self._show(event)

    def _show(self, event: Event) -> None:
        if not self._terminal.is_read_by_a_person:
            if event.type not in _HIDDEN:
                self._terminal.line(log_line(event))
            return
        match event.type:
            case "stt":
                self._meter.heard("" if event.data.get("is_final") else str(event.data.get("text", "")))
            case "user":
                self._terminal.parts(("> ", "bold blue"), (str(event.data.get("content", "")), "bold"))
            case "response":
                self._terminal.line(str(event.data.get("content", "")), "green")
            case kind if kind in _SHOWN:
                dim = kind in ("tool_call", "tool_result")
                self._terminal.line(f"  · {summary(event)}", "dim" if dim else style_of(event))


def _event_of(come: asyncio.Future[Event]) -> Event:
    try:
        return come.result()
    except StopAsyncIteration as error:
        raise VoicebusError("no_answer", "the session ended before the answer") from error


async def _hand_out(terminal: Terminal, output: Output, *, spoken: bool) -> None:
    path, player = output.path, output.player
    if path is None:
        return
    if not spoken:
        terminal.note("no speech came", "yellow")
    elif player is None:
        terminal.note(f"speech saved as {path}", "dim")
    elif not await player.play(path, read_wav(path).duration_s):
        terminal.note(f"{player.command[0]} can't play the answer; --save keeps it", "yellow")
