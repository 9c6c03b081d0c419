"""Bytes of a microphone stream that the server may still need. Pure.

base ≤ acked ≤ sent ≤ end: below `acked` the server has them (the last ones are kept in case it loses them again),
up to `sent` they are on their way, up to `end` they wait.
"""


class AudioBuffer:
    """Offsets count bytes from the stream's beginning. At most `limit` unacknowledged and `keep` older bytes."""

    def __init__(self, limit: int, keep: int = 0) -> None:
        self._bytes = bytearray()
        self._limit = limit
        self._keep = keep
        self.base = 0
        self.acked = 0
        self.sent = 0

    @property
    def end(self) -> int:
        """The offset behind the last byte that was written."""
        return self.base + len(self._bytes)

    @property
    def room(self) -> int:
        """How many bytes may be written now."""
        return max(0, self._limit - (self.end - self.acked))

    def write(self, data: bytes | memoryview) -> None:
        """Appends bytes; the caller keeps to `room`."""
        self._bytes += data

    def take(self, most: int) -> bytes:
        """The next bytes to send, at most so many; they count as sent."""
        start = self.sent - self.base
        data = bytes(self._bytes[start : start + most])
        self.sent += len(data)
        self._trim()
        return data

    def acknowledge(self, offset: int) -> None:
        """The server has all bytes below `offset`."""
        self.acked = max(self.acked, min(offset, self.end))
        self._trim()

    def rewind(self) -> int:
        """A new connection goes on behind what is acknowledged; returns that offset."""
        self.sent = self.acked
        self._trim()
        return self.sent

    def roll_back(self) -> int:
        """The server lost what it had acknowledged: go on from the oldest byte that is left; returns its offset."""
        self.acked = self.sent = self.base
        return self.base

    def _trim(self) -> None:
        surplus = min(self.acked - self._keep, self.sent) - self.base
        if surplus > 0:
            del self._bytes[:surplus]
            self.base += surplus
