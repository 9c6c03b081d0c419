"""`say`: speaks a WAV file to a session and waits for the answer."""

import asyncio
from pathlib import Path

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.terminal import Terminal, log_line
from voicebus_client.turns import Turns
from voicebus_client.wav import Recording, SpeechFile, feed

_HIDDEN = ("token", "tts", "metric")


async def say(
    bus: Voicebus,
    terminal: Terminal,
    recording: Recording,
    *,
    session_id: str | None,
    save: Path | None,
    patience_s: float,
) -> None:
    """Feeds the recording in real time, prints what happens, and saves the speech.

    Without a session it makes one, and ends it. It waits at most `patience_s` seconds for each event that is due.

    Raises:
        VoicebusError: the server refused, or `no_answer`.
    """
    made = None if session_id else await bus.create_session(mode="voice")
    session_id = made.session_id if made else session_id or ""
    try:
        async with bus.connect(session_id) as connection, asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(connection, recording))
            await _follow(connection, terminal, feeding, save, patience_s)
    finally:
        if made:
            await bus.end_session(made.session_id)


async def _feed(connection: Connection, recording: Recording) -> None:
    spec = recording.spec
    async with connection.audio_stream(spec.format, sample_rate=spec.sample_rate, channels=spec.channels) as microphone:
        await feed(microphone, recording)


async def _follow(
    connection: Connection, terminal: Terminal, feeding: asyncio.Task[None], save: Path | None, patience_s: float
) -> None:
    turns = Turns()
    with SpeechFile(save) as speech:
        while not (feeding.done() and turns.any and turns.done):
            event = await _next(connection, feeding, patience_s)
            turns.see(event)
            if event.type == "tts":
                speech.add(event)
            if event.type not in _HIDDEN:
                terminal.line(log_line(event))
    if save:
        terminal.note(f"speech saved as {save}" if speech.begun else "no speech came")


async def _next(connection: Connection, feeding: asyncio.Task[None], patience_s: float) -> Event:
    while True:
        try:
            async with asyncio.timeout(patience_s):
                return await anext(connection)
        except TimeoutError as error:
            if feeding.done():
                raise VoicebusError("no_answer", f"nothing came for {patience_s:g} s", temporary=True) from error
        except StopAsyncIteration as error:
            raise VoicebusError("no_answer", "the session ended before the answer") from error
