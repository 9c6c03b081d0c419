"""The microphone stream of one connection: collects frames and hands them to the bus, one entry a tick."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final
from uuid import uuid4

from gateway.meter import Meter, Pay
from gateway.ticks import Act, Acts, failed
from voicebus.bus.inbox import AudioOpened, Inbox, offset_of
from voicebus.contract.commands import AudioStart, AudioStop
from voicebus.contract.errors import Refused, VoicebusError

_MOST_BYTES: Final = 1_048_576  # that wait for the bus; then the socket is not read
_ENTRY_BYTES: Final = 131_072
_OVERLOAD_PATIENCE_S: Final = 10.0

Acknowledge = Callable[[str, int], Coroutine[Any, Any, None]]  # stream, offset below which all is safe
AcknowledgeNow = Callable[[str, int], bool]  # the same, at once; False if the client doesn't read now
Complain = Callable[[VoicebusError], Awaitable[None]]
Start = Callable[[Coroutine[Any, Any, None]], None]  # runs it as long as the connection is there
Soon = Callable[[Act], None]  # calls it at the next tick, or a while later


class Microphone:
    """At most one stream at a time.

    Where all goes well bytes need no task: a tick sends what has come, and the reply is looked at as it comes. What has
    to be paid for, waited for or complained about is done by a task that sends the same bytes, which take effect once.
    """

    def __init__(
        self,
        inbox: Inbox,
        session_id: str,
        owner: Acts,
        *,
        acknowledge: Acknowledge,
        acknowledge_now: AcknowledgeNow,
        complain: Complain,
        pay: Pay,
        start: Start,
        soon: Soon,
        later: Soon,
    ) -> None:
        self._inbox = inbox
        self._session_id = session_id
        self._owner = owner
        self._connection = uuid4().hex
        self._keys = inbox.audio_keys(session_id)
        self._acknowledge = acknowledge
        self._acknowledge_now = acknowledge_now
        self._complain = complain
        self._pay = pay
        self._start = start
        self._soon = soon
        self._later = later
        self._meter: Meter | None = None  # of the stream
        self._stream: str | None = None
        self._offset = 0  # of the first byte in the buffer
        self._buffer = bytearray()
        self._room = asyncio.Event()  # is left in it
        self._room.set()
        self._sending = asyncio.Lock()  # by a task
        self._flight: _Flight | None = None  # of what a tick has sent
        self._at_tick: Act = (owner, self._tick)
        self._in_a_while: Act = (owner, self._acknowledge_late)
        self._due = False  # a tick is
        self._safe: tuple[str, int] | None = None  # a stream's offset that is to be acknowledged
        self._acknowledging = False  # it will be, or is
        self._told = 0  # offset
        self._complained = False
        self._lost: tuple[str, Refused] | None = None  # a stream that could not go on, and why

    @property
    def is_open(self) -> bool:
        """Whether there is a stream."""
        return self._stream is not None

    async def start(self, command: AudioStart) -> AudioOpened:
        """Opens the stream, or takes it over.

        Raises:
            Refused: with the code that the client gets.
        """
        await self._flush()
        await self._acknowledge_rest()
        number = await self._inbox.audio_number(self._session_id, command.stream)
        meter = Meter(self._pay, f"{command.stream}#{number}", command.spec, command.offset)
        await meter.pay_for(command.offset)
        opened = await self._inbox.audio_start(
            self._session_id, self._connection, command.stream, command.spec, command.offset, command.id
        )
        self._complained = False
        if not opened.done:
            self._stream, self._offset, self._lost, self._meter = command.stream, command.offset, None, meter
            self._told = command.offset
            await self._acknowledge(command.stream, opened.expected)
        return opened

    def take(self, data: bytes) -> bool:
        """As `feed`, but at once; False if that would have to wait or to complain."""
        if self._stream is None or not self._room.is_set():
            return False
        self._buffer += data
        if len(self._buffer) >= _MOST_BYTES:
            self._room.clear()
        self._tick_soon()
        return True

    async def feed(self, data: bytes) -> None:
        """The open stream's next bytes; waits while too much waits already. Without a stream it complains once."""
        await self._room.wait()
        if not self.take(data) and not self._complained:
            self._complained = True
            await self._complain(Refused("audio_not_open"))

    async def stop(self, command: AudioStop) -> int:
        """Ends the stream behind what was fed; returns seq.

        Raises:
            Refused: with the code that the client gets.
        """
        if (seq := await self._stop_with_the_rest(command)) is not None:
            return seq
        await self._flush()
        await self._acknowledge_rest()
        if self._lost is not None and self._lost[0] == command.stream:
            raise self._lost[1]  # its last bytes were refused: what is behind a gap must not pass for the whole
        if self._stream == command.stream:
            self._stream = None
        return await self._inbox.audio_stop(self._session_id, self._connection, command.stream, command.id)

    async def _stop_with_the_rest(self, command: AudioStop) -> int | None:
        """Sends the last bytes and the stop together: the stop is only accepted behind them. None if it was not."""
        async with self._sending:
            await self._landing()
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
            self._stream, self._offset, self._safe = None, end, None
            self._buffer.clear()
            self._measure()
            await self._acknowledge(command.stream, end)
            return seq

    # Where all goes well.

    def _tick_soon(self) -> None:
        if not self._due:
            self._due = True
            self._soon(self._at_tick)

    def _tick(self) -> None:
        """Sends what has come; what comes until the reply goes with the tick behind it."""
        self._due = False
        if self._stream is None or not self._buffer or self._flight is not None or self._sending.locked():
            return
        if self._offset - self._told > _MOST_BYTES:  # its sender reads nothing: not before it is told of what is safe
            return
        end = self._offset + len(self._buffer)
        if self._meter is None or end > self._meter.paid or len(self._buffer) > _ENTRY_BYTES:
            self._start(self._flush())
            return
        self._flight = flight = _Flight(self, self._owner, end)
        data = bytes(self._buffer)
        self._inbox.send_audio(flight, self._keys, self._connection, self._stream, self._offset, data)
        if self._meter.runs_out(end):
            self._start(self._meter.pay_ahead())

    def landed(self, reply: Any, end: int) -> None:
        """The bus has answered what was sent up to this offset."""
        self._flight = None
        try:
            safe = offset_of(reply, self._offset)
        except Refused:
            self._start(self._flush())
            return
        except VoicebusError as error:
            self._start(_fail(error))
            return
        del self._buffer[: end - self._offset]
        self._offset = end
        if not self._room.is_set():
            self._measure()
        self._note_safe(safe)
        if self._buffer:
            self._tick_soon()

    def lost(self, error: VoicebusError) -> None:
        """The bus has not answered."""
        self._flight = None
        self._start(_fail(error))

    async def _landing(self) -> None:
        """Returns when nothing of a tick's is on its way."""
        while self._flight is not None:
            await self._flight.over()

    def _note_safe(self, offset: int) -> None:
        if self._stream is not None:
            self._safe = self._stream, offset
            self._acknowledge_soon()

    def _acknowledge_soon(self) -> None:
        if not self._acknowledging:
            self._acknowledging = True
            self._later(self._in_a_while)

    def _acknowledge_late(self) -> None:
        if self._safe is None or self._safe[0] != self._stream or not self._acknowledge_now(*self._safe):
            self._start(self._acknowledge_slowly())
            return
        self._told = self._safe[1]
        self._safe = None
        self._acknowledging = False
        if self._buffer:
            self._tick_soon()

    async def _acknowledge_slowly(self) -> None:
        await self._acknowledge_rest()
        self._acknowledging = False
        if self._safe is not None:
            self._acknowledge_soon()
        if self._buffer:
            self._tick_soon()

    async def _acknowledge_rest(self) -> None:
        """Tells the sender what is safe; waits while it doesn't read."""
        safe, self._safe = self._safe, None
        if safe is not None:
            await self._acknowledge(*safe)
            if safe[0] == self._stream:
                self._told = safe[1]

    # Where something has to be waited for.

    async def _flush(self) -> None:
        async with self._sending:
            await self._landing()
            while self._buffer and self._stream is not None and self._meter is not None:
                try:
                    paid = await self._meter.pay_for(self._offset)
                    data = bytes(self._buffer[: min(_ENTRY_BYTES, paid - self._offset)])
                    safe = await self._append(self._stream, data)
                except Refused as error:
                    self._drop_stream(self._stream, error)
                    await self._acknowledge_rest()  # first: its sender learns how far it got
                    await self._complain(error)
                    return
                self._offset += len(data)
                del self._buffer[: len(data)]
                self._measure()
                self._note_safe(safe)

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
        (self._room.set if len(self._buffer) < _MOST_BYTES else self._room.clear)()


class _Flight:
    """Of bytes that are on their way: whom the reply goes to. It is told at once, without a round of the loop.

    It raises nothing: behind it are replies to others.
    """

    __slots__ = ("_end", "_microphone", "_over", "_owner", "_waiters")

    def __init__(self, microphone: Microphone, owner: Acts, end: int) -> None:
        self._microphone = microphone
        self._owner = owner
        self._end = end
        self._over = False
        self._waiters: asyncio.Event | None = None

    async def over(self) -> None:
        """Returns when it is."""
        if not self._over:
            self._waiters = self._waiters or asyncio.Event()
            await self._waiters.wait()

    def done(self) -> bool:
        """As the bus asks."""
        return self._over

    def set_result(self, reply: Any) -> None:
        """The reply."""
        self._land()
        try:
            self._microphone.landed(reply, self._end)
        except Exception:  # noqa: BLE001 - one client's failure is its own
            failed(self._owner)

    def set_exception(self, error: VoicebusError) -> None:
        """There is none."""
        self._land()
        try:
            self._microphone.lost(error)
        except Exception:  # noqa: BLE001 - as above
            failed(self._owner)

    def _land(self) -> None:
        self._over = True
        if self._waiters is not None:
            self._waiters.set()


async def _fail(error: VoicebusError) -> None:
    """For whoever runs it."""
    raise error
