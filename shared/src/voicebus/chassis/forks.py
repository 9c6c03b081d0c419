"""Gets forks from a process that `voicebus.chassis.forkserver` describes: starts it, and anew if it died."""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Iterator

from voicebus.chassis.forkserver import FAILED, HEADER, message

EXIT_TIMEOUT_S = 2.0
BUFFER_BYTES = 64 * 1024  # of what a fork sent, on this side of its socket; behind that the fork waits


class ForkServerFailed(Exception):
    """The process that forks doesn't start; the text says why."""


class ForkLost(Exception):
    """A fork died, hangs, or didn't come to be. Others go on, and the server can be asked for the next."""


@contextlib.contextmanager
def raised_as(failed: Callable[[str], Exception], lost: Callable[[str], Exception]) -> Iterator[None]:
    """Raises `ForkServerFailed` and `ForkLost` as these errors of an engine."""
    try:
        yield
    except ForkServerFailed as error:
        raise failed(str(error)) from error
    except ForkLost as error:
        raise lost(str(error)) from error


class Fork:
    """A connection to a forked process. Messages have a kind of one byte, and content."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, patience_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._patience_s = patience_s

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """Sends a message, without waiting. That nobody hears it shows when an answer is awaited."""
        self._writer.write(message(kind, content))

    async def receive(self) -> tuple[bytes, bytes]:
        """Kind and content of the next message.

        Raises:
            ForkLost: the process died, or said nothing for `patience_s`.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                kind, length = HEADER.unpack(await self._reader.readexactly(HEADER.size))
                return kind, await self._reader.readexactly(length)
        except TimeoutError as error:
            raise ForkLost("the forked process hangs") from error
        except (EOFError, OSError) as error:
            raise ForkLost("the forked process crashed") from error

    async def close(self) -> None:
        """Has the process exit, and waits until it did: then its end of the socket is closed."""
        try:
            with contextlib.suppress(OSError):
                self._writer.write_eof()
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    while await self._reader.read(BUFFER_BYTES):
                        pass
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


class ForkServer:
    """Runs `python -m <module> <arguments>`. `greeting` is what the process said when it was ready."""

    def __init__(self, module: str, *arguments: str, start_timeout_s: float, patience_s: float) -> None:
        self.greeting = b""
        self._command = [sys.executable, "-P", "-m", module, *arguments]
        self._start_timeout_s = start_timeout_s
        self._patience_s = patience_s
        self._control: socket.socket | None = None
        self._process: Process | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Starts the process and waits until it is ready. Raises `ForkServerFailed`."""
        try:
            async with asyncio.timeout(self._start_timeout_s):
                self.greeting = await self._launch()
        except (OSError, EOFError) as error:
            await self.stop()
            raise ForkServerFailed(f"the fork server doesn't start: {error!r}") from error
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends the process. Forks end with their own connections."""
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

    async def fork(self) -> Fork:
        """A new process.

        Raises:
            ForkServerFailed: the server had died, and doesn't start anew.
            ForkLost: it died again.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._hand_over(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=BUFFER_BYTES)
        except BaseException:
            ours.close()
            raise
        return Fork(reader, writer, patience_s=self._patience_s)

    async def _launch(self) -> bytes:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs:
            # A session of its own: the terminal's Ctrl-C is for us, and what is under way may be finished.
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=theirs.fileno(), stdout=DEVNULL, start_new_session=True
            )
        kind, length = HEADER.unpack(await _receive_exactly(self._control, HEADER.size))
        content = await _receive_exactly(self._control, length)
        if kind == FAILED:
            raise ForkServerFailed(content.decode())
        return content

    async def _hand_over(self, connection: socket.socket) -> None:
        async with self._starting:
            if self._send(connection):
                return
            await self.stop()
            await self.start()
            if not self._send(connection):
                raise ForkLost("the fork server ended")

    def _send(self, connection: socket.socket) -> bool:
        if self._control is None:
            return False
        try:
            socket.send_fds(self._control, [b"\0"], [connection.fileno()])
        except OSError:
            return False
        return True


async def _receive_exactly(control: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = await asyncio.get_running_loop().sock_recv(control, size - len(received))
        if not piece:
            raise EOFError("it ended at once")
        received += piece
    return received
