"""The microphone stream of one connection: collects frames and hands them to the bus, one entry a tick."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.meter import Meter, Pay
from voicebus.bus.inbox import AudioOpened, Inbox
from voicebus.contract.commands import AudioStart, AudioStop
from voicebus.contract.errors import Refused, VoicebusError

TICK_S = 0.04  # frames of so long a time travel together
_SETTLE_S = 0.001  # a stop that follows its last bytes so soon travels with them
_MOST_BYTES = 1_048_576  # that wait for the bus; then the socket is not read
_ENTRY_BYTES = 131_072
_OVERLOAD_PATIENCE_S = 10.0

Acknowledge = Callable[[str, int], Awaitable[None]]  # stream, offset below which all is safe
Complain = Callable[[VoicebusError], Awaitable[None]]


class Microphone:
    """At most one stream at a time. `run` must be running."""

    def __init__(
        self, inbox: Inbox, session_id: str, connection: str, acknowledge: Acknowledge, complain: Complain, pay: Pay
    ) -> None:
        self._inbox = inbox
        self._session_id = session_id
        self._connection = connection
        self._acknowledge = acknowledge
        self._complain = complain
        self._pay = pay
        self._meter: Meter | None = None  # of the stream
        self._stream: str | None = None
        self._offset = 0  # of the first byte in the buffer
        self._buffer = bytearray()
        self._some = asyncio.Event()  # waits in the buffer
        self._room = asyncio.Event()  # is left in it
        self._room.set()
        self._sending = asyncio.Lock()
        self._complained = False
        self._lost: tuple[str, Refused] | None = None  # a stream that could not go on, and why

    async def start(self, command: AudioStart) -> AudioOpened:
        """Opens the stream, or takes it over.

        Raises:
            Refused: with the code that the client gets.
        """
        await self._flush()
        number = await self._inbox.audio_number(self._session_id, command.stream)
        meter = Meter(self._pay, f"{command.stream}#{number}", command.spec, command.offset)
        await meter.pay_for(command.offset)
        opened = await self._inbox.audio_start(
            self._session_id, self._connection, command.stream, command.spec, command.offset, command.id
        )
        self._complained = False
        if not opened.done:
            self._stream, self._offset, self._lost, self._meter = command.stream, command.offset, None, meter
            await self._acknowledge(command.stream, opened.expected)
        return opened

    async def feed(self, data: bytes) -> None:
        """The open stream's next bytes; waits while too much waits already. Without a stream it complains once."""
        await self._room.wait()
        if self._stream is None:
            if not self._complained:
                self._complained = True
                await self._complain(Refused("audio_not_open"))
            return
        self._buffer += data
        self._measure()

    async def stop(self, command: AudioStop) -> int:
        """Ends the stream behind what was fed; returns seq.

        Raises:
            Refused: with the code that the client gets.
        """
        if (seq := await self._stop_with_the_rest(command)) is not None:
            return seq
        await self._flush()
        if self._lost is not None and self._lost[0] == command.stream:
            raise self._lost[1]  # its last bytes were refused: what is behind a gap must not pass for the whole
        if self._stream == command.stream:
            self._stream = None
        return await self._inbox.audio_stop(self._session_id, self._connection, command.stream, command.id)

    async def _stop_with_the_rest(self, command: AudioStop) -> int | None:
        """Sends the last bytes and the stop together: the stop is only accepted behind them. None if it was not."""
        async with self._sending:
            data, end = bytes(self._buffer), self._offset + len(self._buffer)
            if self._stream != command.stream or not 0 < len(data) <= _ENTRY_BYTES:
                return None
            if self._meter is None or end > self._meter.paid:
                return None
            where = (self._session_id, self._connection, command.stream)
            _, seq = await asyncio.gather(
                self._inbox.audio(*where, self._offset, data),
                self._inbox.audio_stop(*where, command.id, end=end),
                return_exceptions=True,
            )
            if not isinstance(seq, int):
                return None
            self._stream, self._offset = None, end
            self._buffer.clear()
            self._measure()
            await self._acknowledge(command.stream, end)
            return seq

    async def run(self) -> None:
        """Hands on what was fed, as good as at once but at most once a tick, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(_SETTLE_S)
            await self._flush()
            await asyncio.sleep(TICK_S)

    async def _flush(self) -> None:
        async with self._sending:
            while self._buffer and self._stream is not None and self._meter is not None:
                try:
                    paid = await self._meter.pay_for(self._offset)
                    data = bytes(self._buffer[: min(_ENTRY_BYTES, paid - self._offset)])
                    safe = await self._append(self._stream, data)
                except Refused as error:
                    self._drop_stream(self._stream, error)
                    await self._complain(error)
                    return
                self._offset += len(data)
                del self._buffer[: len(data)]
                self._measure()
                await self._acknowledge(self._stream, safe)

    async def _append(self, stream: str, data: bytes) -> int:
        loop = asyncio.get_running_loop()
        until = loop.time() + _OVERLOAD_PATIENCE_S
        while True:
            try:
                return await self._inbox.audio(self._session_id, self._connection, stream, self._offset, data)
            except Refused as error:
                if error.code != "overloaded" or loop.time() > until:
                    raise
            await asyncio.sleep(0.1)

    def _drop_stream(self, stream: str, error: Refused) -> None:
        self._lost = (stream, error)
        self._stream = None
        self._complained = True
        self._buffer.clear()
        self._measure()

    def _measure(self) -> None:
        (self._some.set if self._buffer else self._some.clear)()
        (self._room.set if len(self._buffer) < _MOST_BYTES else self._room.clear)()
