"""What of a microphone stream is paid for: second by second, so that not every frame asks."""

from collections.abc import Awaitable, Callable

from voicebus.contract.audio import AudioSpec

Pay = Callable[[str, int, int], Awaitable[None]]  # stream, from and to in ms of it; raises Refused
_AT_ONCE_MS = 1_000
_SAMPLE_BYTES = 2  # compressed formats count as if they weren't


class Meter:
    """Of one stream, from an offset in bytes on."""

    def __init__(self, pay: Pay, stream: str, spec: AudioSpec, offset: int) -> None:
        self._pay = pay
        self._stream = stream
        self._bytes_per_s = spec.sample_rate * spec.channels * _SAMPLE_BYTES
        self._paid_ms = offset * 1000 // self._bytes_per_s

    @property
    def paid(self) -> int:
        """The offset below which all is paid for."""
        return self._paid_ms * self._bytes_per_s // 1000

    async def pay_for(self, offset: int) -> int:
        """Pays for the byte at this offset and for the rest of its second; returns the offset up to which all is paid.

        Raises:
            Refused: there was too much audio.
        """
        while self.paid <= offset:
            await self._pay(self._stream, self._paid_ms, self._paid_ms + _AT_ONCE_MS)
            self._paid_ms += _AT_ONCE_MS
        return self.paid
