"""The application's end of a microphone stream."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from voicebus_client.errors import AudioRefused
from voicebus_client.outbox import Ack
from voicebus_client.upload import Upload


class Microphone:
    """Audio from the user to the session; made by `Connection.audio_stream`, used as `async with` by one task.

    Entering opens the stream. What was written and isn't acknowledged yet is kept; after a reconnect the same stream
    goes on from there. Leaving stops it: then the last words are transcribed at once.
    """

    def __init__(self, upload: Upload, wake: Callable[[], None]) -> None:
        self._upload = upload
        self._wake = wake
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._wake()
        try:
            while not self._upload.started:
                await self._change()
        except BaseException:
            self._abandon()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            await self.stop()
        else:
            self._abandon()

    @property
    def stream(self) -> str:
        """The stream's id."""
        return self._upload.stream

    @property
    def written(self) -> int:
        """Bytes written so far."""
        return self._upload.buffer.end

    @property
    def acknowledged(self) -> int:
        """Bytes that the server has for sure."""
        return self._upload.buffer.acked

    async def write(self, data: bytes) -> None:
        """Takes audio of any length; waits while too much is unacknowledged.

        Raises:
            AudioRefused: the stream was stopped, or the server won't go on with it.
            VoicebusError: the connection ended for good.
        """
        rest = memoryview(data)
        while rest:
            self._check()
            if self._upload.stopping:
                raise AudioRefused("audio_not_open", "The stream was stopped.")
            size = min(len(rest), self._upload.buffer.room)
            if size == 0:
                self._wake()
                await self._change()
                continue
            self._upload.buffer.write(rest[:size])
            rest = rest[size:]
            self._wake()

    async def stop(self) -> Ack:
        """Ends the stream once everything is safe at the server; returns the acknowledgement.

        Raises:
            AudioRefused: the server won't go on with the stream.
            VoicebusError: the connection ended for good.
        """
        self._upload.stop()
        self._wake()
        while self._upload.stopped is None:
            await self._change()
        return self._upload.stopped

    def changed(self) -> None:
        """For the connection: the upload's state changed."""
        self._changed.set()

    async def _change(self) -> None:
        self._check()
        self._changed.clear()
        await self._changed.wait()
        self._check()

    def _check(self) -> None:
        if self._upload.error is not None:
            raise self._upload.error

    def _abandon(self) -> None:
        self._upload.stop(abandon=True)
        self._wake()
