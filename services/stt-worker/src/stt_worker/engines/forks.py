"""The client's side of the fork server: starts it, anew if it died, and gets forks from it."""

import asyncio
import contextlib
import socket
import sys
from asyncio.subprocess import DEVNULL, Process

from stt_worker.engines.engine import EngineError, RecognitionError
from stt_worker.engines.wire import ANSWER, READY, REQUEST

START_TIMEOUT_S = 20.0
EXIT_TIMEOUT_S = 2.0


class Fork:
    """A connection to a forked process: requests go there, some are answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, patience_s: float) -> None:
        self._reader = reader
        self._writer = writer
        self._patience_s = patience_s

    def send(self, kind: bytes, content: bytes = b"") -> None:
        """A request without an answer."""
        self._writer.write(REQUEST.pack(kind, len(content)) + content)

    async def ask(self, kind: bytes, content: bytes = b"") -> bytes:
        """A request and its answer.

        Raises:
            RecognitionError: the process died, or said nothing for `patience_s`.
        """
        self.send(kind, content)
        try:
            async with asyncio.timeout(self._patience_s):
                (length,) = ANSWER.unpack(await self._reader.readexactly(ANSWER.size))
                return await self._reader.readexactly(length)
        except TimeoutError as error:
            raise RecognitionError("The recogniser's process hangs.") from error
        except (EOFError, OSError) as error:
            raise RecognitionError("The recogniser's process died.") from error

    async def close(self) -> None:
        """Has the process exit, and waits until it did: then its end of the socket is closed."""
        try:
            with contextlib.suppress(OSError):
                self._writer.write_eof()
                async with asyncio.timeout(EXIT_TIMEOUT_S):
                    while await self._reader.read(65_536):
                        pass
        finally:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()


class ForkServer:
    """Runs `python -m <module>`, which sends `READY` and then forks for each socket that it is sent."""

    def __init__(self, module: str, *, patience_s: float) -> None:
        self._module = module
        self._patience_s = patience_s
        self._control: socket.socket | None = None
        self._process: Process | None = None
        self._starting = asyncio.Lock()

    async def start(self) -> None:
        """Starts the process and waits until it is ready. Raises `EngineError`."""
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await self._launch()
        except (OSError, EOFError) as error:
            await self.stop()
            raise EngineError(f"The recogniser's process doesn't start: {error!r}") from error
        except BaseException:
            await self.stop()
            raise

    async def _launch(self) -> None:
        self._control, theirs = socket.socketpair()
        self._control.setblocking(False)
        with theirs:
            # A session of its own: the terminal's Ctrl-C is for us, and open utterances are finished first.
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                self._module,
                stdin=theirs.fileno(),
                stdout=DEVNULL,
                start_new_session=True,
            )
        if await asyncio.get_running_loop().sock_recv(self._control, 1) != READY:
            raise EOFError("it ended at once")

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
        """A new process. Raises `EngineError`."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                await self._hand_over(theirs)
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        return Fork(reader, writer, patience_s=self._patience_s)

    async def _hand_over(self, connection: socket.socket) -> None:
        async with self._starting:
            if self._send(connection):
                return
            await self.stop()
            await self.start()
            if not self._send(connection):
                raise EngineError("The recogniser's process ended.")

    def _send(self, connection: socket.socket) -> bool:
        if self._control is None:
            return False
        try:
            socket.send_fds(self._control, [b"\0"], [connection.fileno()])
        except OSError:
            return False
        return True
