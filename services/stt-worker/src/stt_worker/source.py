"""The bytes of a stream that may still be needed."""


class Source:
    """A window on the stream with a read position that can go back. Offsets count from the stream's first byte."""

    def __init__(self, offset: int, carry: bytes = b"") -> None:
        self._base = offset
        self._bytes = bytearray(carry)
        self._read = 0

    @property
    def offset(self) -> int:
        """Of the next byte to read."""
        return self._base + self._read

    @property
    def end(self) -> int:
        """Behind the last byte that was written."""
        return self._base + len(self._bytes)

    @property
    def unread(self) -> bytes:
        """What was written and not read."""
        return bytes(self._bytes[self._read :])

    def write(self, data: bytes) -> None:
        """The stream's next bytes."""
        self._bytes += data

    def take(self, size: int, *, before: int | None = None) -> bytes | None:
        """The next `size` bytes, none of them at or behind `before`; None if they aren't there."""
        limit = self.end if before is None else min(before, self.end)
        if self.offset + size > limit:
            return None
        self._read += size
        return bytes(self._bytes[self._read - size : self._read])

    def seek(self, offset: int) -> None:
        """Reads on from here: from what is kept, or from the end at most."""
        self._read = min(offset, self.end) - self._base

    def forget(self, before: int) -> None:
        """What lies before this offset is not needed any more."""
        gone = min(before, self.offset) - self._base
        if gone > 0:
            del self._bytes[:gone]
            self._base += gone
            self._read -= gone
