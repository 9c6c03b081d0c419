"""`chat`: a conversation in writing."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TextIO
from uuid import uuid4

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.terminal import Terminal, summary
from voicebus_client.turns import Turns

HELP = "Write and press Enter. /stop interrupts the answer, /yes and /no decide on a tool, /quit leaves."
_LINES = 64  # read ahead


class Chat:
    """One conversation: what is typed goes out, what comes is printed."""

    def __init__(self, connection: Connection, terminal: Terminal) -> None:
        self._connection = connection
        self._terminal = terminal
        self._turns = Turns()
        self._came = asyncio.Event()  # an event
        self._asked: str | None = None  # the tool call that waits for a word

    async def run(self, lines: AsyncIterator[str], patience_s: float) -> None:
        """Until the lines end and everything is answered, or the session ends.

        Raises:
            VoicebusError: the server refused, or `no_answer`: no event came for `patience_s` seconds.
        """
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(self._show())
            typing = group.create_task(self._type(lines, patience_s))
            await asyncio.wait((showing, typing), return_when=asyncio.FIRST_COMPLETED)
            showing.cancel()
            typing.cancel()

    async def _type(self, lines: AsyncIterator[str], patience_s: float) -> None:
        async for line in lines:
            if line == "/quit":
                return
            await self._obey(line)
        try:
            while not self._turns.done:
                self._came.clear()
                async with asyncio.timeout(patience_s):
                    await self._came.wait()
        except TimeoutError as error:
            raise VoicebusError("no_answer", f"nothing came for {patience_s:g} s", temporary=True) from error

    async def _obey(self, line: str) -> None:
        if line == "/stop":
            self._connection.interrupt()
        elif line in ("/yes", "/no") and self._asked:
            self._connection.approve_tool(self._asked, approved=line == "/yes")
            self._asked = None
        elif line.startswith("/"):
            self._terminal.note(HELP)
        elif line:
            await self._say(line)

    async def _say(self, line: str) -> None:
        message_id = uuid4().hex
        self._turns.expect(message_id)
        try:
            await self._connection.send_text(line, id=message_id)
        except VoicebusError as error:
            self._turns.forget(message_id)
            if not error.temporary:
                raise
            self._terminal.note(f"not sent: {error}")

    async def _show(self) -> None:
        async for event in self._connection:
            self._print(event)
            self._turns.see(event)
            self._came.set()

    def _print(self, event: Event) -> None:
        match event.type:
            case "token":
                self._terminal.grow(str(event.data.get("token", "")))
            case "response":
                if not self._terminal.fresh():
                    self._terminal.line(str(event.data.get("content", "")))
            case "tool_approval_request":
                self._asked = str(event.data.get("tool_call_id"))
                self._terminal.line(f"  ? {summary(event)}: /yes or /no")
            case "tool_call" | "tool_result":
                self._terminal.line(f"  · {summary(event)}")
            case "response_restarted":
                self._terminal.line("  · (once more)")
            case "interrupted" | "gap" | "error" | "warning" | "session_end":
                self._terminal.line(f"  ! {event.type}: {summary(event)}")


async def chat(bus: Voicebus, terminal: Terminal, source: TextIO, *, session_id: str | None, patience_s: float) -> None:
    """Reads lines from `source` and talks to a session; without one it makes one, and ends it.

    Raises:
        VoicebusError: the server refused, or did not answer.
    """
    made = None if session_id else await bus.create_session(mode="text")
    session_id = made.session_id if made else session_id or ""
    try:
        async with bus.connect(session_id) as connection:
            if source.isatty():
                terminal.note(HELP)
            await Chat(connection, terminal).run(read_lines(source), patience_s)
    finally:
        if made:
            await bus.end_session(made.session_id)


async def read_lines(source: TextIO) -> AsyncIterator[str]:
    """The lines of a file, pipe or terminal, stripped. A thread waits for them, which does not outlive the process."""
    lines: asyncio.Queue[str | None] = asyncio.Queue(_LINES)
    loop = asyncio.get_running_loop()

    def put(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()

    def read() -> None:
        try:
            for line in source:
                put(line.strip())
            put(None)
        except RuntimeError:  # the loop is closed: nobody wants the lines any more
            return

    threading.Thread(target=read, name="reading lines", daemon=True).start()
    while (line := await lines.get()) is not None:
        yield line
