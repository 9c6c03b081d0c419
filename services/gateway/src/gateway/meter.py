"""What of a microphone stream is paid for: second by second, so that not every frame asks."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import Refused

Pay = Callable[[str, int, int], Awaitable[None]]  # stream, from and to in ms of it; raises Refused
_AT_ONCE_MS: Final = 1_000
# So long before the end of what is paid the next second is paid for: streams that began together differ, and one that
# ends in this time has paid for a second that it did not speak.
_AHEAD_MS: Final = (100, 300)
_SAMPLE_BYTES: Final = 2  # compressed formats count as if they weren't


class Meter:
    """Of one stream, from an offset in bytes on."""

    def __init__(self, pay: Pay, stream: str, spec: AudioSpec, offset: int) -> None:
        self._pay = pay
        self._stream = stream
        self._bytes_per_s = spec.sample_rate * spec.channels * _SAMPLE_BYTES
        self._paid_ms = offset * 1000 // self._bytes_per_s
        self.paid = self._offset(self._paid_ms)  # the offset below which all is paid for
        self._ahead = random.randint(*_AHEAD_MS) * self._bytes_per_s // 1000  # noqa: S311 - no secret
        self._paying = asyncio.Lock()
        self._asked_ms = 0  # up to which it was paid ahead, or refused

    async def pay_for(self, offset: int) -> int:
        """Pays for the byte at this offset and for the rest of its second; returns the offset up to which all is paid.

        Raises:
            Refused: there was too much audio.
        """
        while self.paid <= offset:
            async with self._paying:
                if self.paid <= offset:
                    await self._pay_next()
        return self.paid

    def runs_out(self, offset: int) -> bool:
        """Whether it is time to `pay_ahead`, where the stream has come to this offset."""
        return offset > self.paid - self._ahead and self._asked_ms <= self._paid_ms

    async def pay_ahead(self) -> None:
        """Pays for the next second, so that nobody waits for it; a refusal is told to who pays for that itself."""
        self._asked_ms = end_ms = self._paid_ms + _AT_ONCE_MS
        async with self._paying:
            if self._paid_ms < end_ms:
                with suppress(Refused):
                    await self._pay_next()

    async def _pay_next(self) -> None:
        await self._pay(self._stream, self._paid_ms, self._paid_ms + _AT_ONCE_MS)
        self._paid_ms += _AT_ONCE_MS
        self.paid = self._offset(self._paid_ms)

    def _offset(self, ms: int) -> int:
        return ms * self._bytes_per_s // 1000
