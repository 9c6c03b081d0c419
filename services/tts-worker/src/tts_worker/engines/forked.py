"""Speaks through forks of a pristine process; `tts_worker.engines.forkserver` says why."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, AsyncIterator
from types import TracebackType
from typing import Literal, Self

from tts_worker.engines.engine import SAMPLE_BYTES, Chunks, EngineError, SynthesisError, Voice
from tts_worker.engines.forkserver import AUDIO, END, FAILED, HEADER, READY, SAMPLE_RATE, TEXT, message
from tts_worker.speakable import has_words, one_line

START_TIMEOUT_S = 10.0
SILENCE_TIMEOUT_S = 20.0  # so long a fork may take for its next audio
EXIT_TIMEOUT_S = 2.0
BUFFER_BYTES = 64 * 1024  # of a text's audio on this side of its socket; behind that the synthesis waits


class ForkedEngine:
    """One fork per text, at most `max_syntheses` at a time; further texts wait."""

    codec: Literal["pcm16"] = "pcm16"

    def __init__(self, name: str, voice: Voice | None = None, *, chunk_ms: int = 60, max_syntheses: int = 4) -> None:
        self.name = name
        self._chunk_ms = chunk_ms
        self._slots = asyncio.Semaphore(max_syntheses)
        self._server = ForkServer(name, voice or Voice())

    @property
    def sample_rate(self) -> int:
        """Samples per second, as the loaded voice has it."""
        return self._server.sample_rate

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop()

    async def speak(self, text: str, *, skip_samples: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the audio of `text` while it is being synthesised."""
        text = one_line(text)
        if not has_words(text):
            return
        chunk_bytes = self.sample_rate * self._chunk_ms // 1000 * SAMPLE_BYTES
        chunks = Chunks(chunk_bytes, skip_bytes=skip_samples * SAMPLE_BYTES)
        async with self._slots, self._server.fork() as (reader, writer):
            writer.write(message(TEXT, text.encode()))
            async for audio in _receive(reader):
                for chunk in chunks.push(audio):
                    yield chunk
        for chunk in chunks.rest():
            yield chunk


class ForkServer:
    """The client's side of the fork server: starts it, anew if it died, and gets forks from it."""

    def __init__(self, engine: str, voice: Voice) -> None:
        self.sample_rate = 0
        self._arguments = ["-P", "-m", "tts_worker.engines.forkserver", engine, json.dumps(dataclasses.asdict(voice))]
        self._control: socket.socket | None = None
        self._process: Process | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Start the process and wait until its library is loaded. Raises `EngineError`."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                kind, content = await self._launch()
        except (OSError, EOFError) as error:
            await self.stop()
            raise EngineError(f"the engine's process doesn't start: {error!r}") from error
        except BaseException:
            await self.stop()
            raise
        if kind != READY:
            await self.stop()
            raise EngineError(content.decode())
        (self.sample_rate,) = SAMPLE_RATE.unpack(content)

    async def stop(self) -> None:
        """End the process. What is still being spoken ends with its own socket."""
        if self._control:
            self._control.close()
            self._control = None
        if self._process:
            process, self._process = self._process, None
            try:
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _launch(self) -> tuple[bytes, bytes]:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs:
            # A session of its own: the terminal's Ctrl-C is for us, and what is being spoken may be finished.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self._arguments, stdin=theirs.fileno(), stdout=DEVNULL, start_new_session=True
            )
        return await _receive_first(self._control)

    @contextlib.asynccontextmanager
    async def fork(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection to a new fork; at the end of the block the fork is gone. Raises `SynthesisError`."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._hand_over(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=BUFFER_BYTES)
        except BaseException:
            ours.close()
            raise
        try:
            yield reader, writer
        finally:
            await _await_exit(reader, writer)

    async def _hand_over(self, connection: socket.socket) -> None:
        async with self._starting:
            if self._send(connection):
                return
            await self.stop()
            await self.start()
        if not self._send(connection):
            raise SynthesisError("the engine's process ended")

    def _send(self, connection: socket.socket) -> bool:
        if self._control is None:
            return False
        try:
            socket.send_fds(self._control, [b"\0"], [connection.fileno()])
        except OSError:
            return False
        return True


async def _receive(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The audio that a fork sends, up to its end. Raises `SynthesisError` if it crashes, fails or falls silent."""
    while True:
        try:
            async with asyncio.timeout(SILENCE_TIMEOUT_S):
                kind, length = HEADER.unpack(await reader.readexactly(HEADER.size))
                content = await reader.readexactly(length)
        except TimeoutError as error:
            raise SynthesisError("the engine fell silent") from error
        except (EOFError, OSError) as error:
            raise SynthesisError("the engine crashed") from error
        if kind == END:
            return
        if kind == FAILED:
            raise SynthesisError(content.decode())
        if kind == AUDIO:
            yield content


async def _receive_first(control: socket.socket) -> tuple[bytes, bytes]:
    async def receive(size: int) -> bytes:
        received = b""
        while len(received) < size:
            piece = await asyncio.get_running_loop().sock_recv(control, size - len(received))
            if not piece:
                raise EOFError("it ended at once")
            received += piece
        return received

    kind, length = HEADER.unpack(await receive(HEADER.size))
    return kind, await receive(length)


async def _await_exit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Have the fork exit, and wait until it did: then its end of the socket is closed."""
    try:
        with contextlib.suppress(OSError):
            writer.write_eof()
            async with asyncio.timeout(EXIT_TIMEOUT_S):
                while await reader.read(BUFFER_BYTES):
                    pass
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
