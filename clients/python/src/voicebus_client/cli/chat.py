"""`chat`: a conversation in writing."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import TextIO
from uuid import uuid4

from voicebus_client.cli.ctrl_c import on_ctrl_c
from voicebus_client.cli.terminal import Terminal, style_of, summary
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.errors import VoicebusError
from voicebus_client.events import Event
from voicebus_client.turns import Turns

HELP = "Write and press Enter. Ctrl-C or /stop interrupts the answer, /yes and /no decide on a tool, /quit leaves."
_PROMPT = "> "
_LINES = 64  # read ahead


class Chat:
    """One conversation: what is typed goes out, what comes is printed. With a person who types it has a prompt."""

    def __init__(self, connection: Connection, terminal: Terminal, *, prompts: bool = False) -> None:
        self._connection = connection
        self._terminal = terminal
        self._prompts = prompts
        self._interrupting = False
        self._turns = Turns()
        self._came = asyncio.Event()  # an event
        self._asked: str | None = None  # the tool call that waits for a word
        self._shown: object = None  # the response whose tokens came

    async def run(self, lines: AsyncIterator[str], patience_s: float) -> None:
        """Until the lines end and everything is answered, or the session ends.

        Raises:
            VoicebusError: the server refused, or `no_answer`: no event came for `patience_s` seconds.
        """
        with on_ctrl_c(self._interrupts, self._interrupt):
            await self._talk(lines, patience_s)

    async def _talk(self, lines: AsyncIterator[str], patience_s: float) -> None:
        async with asyncio.TaskGroup() as group:
            showing = group.create_task(self._show())
            typing = group.create_task(self._type(lines, patience_s))
            await asyncio.wait((showing, typing), return_when=asyncio.FIRST_COMPLETED)
            showing.cancel()
            typing.cancel()

    def _interrupts(self) -> bool:
        """Whether Ctrl-C interrupts the answer; without one, or once more before it has ended, it leaves."""
        if self._turns.done or self._interrupting:
            return False
        self._interrupting = True
        return True

    def _interrupt(self) -> None:
        self._connection.interrupt()
        self._terminal.note("Ctrl-C once more leaves", "dim")

    def _prompt(self) -> None:
        if self._prompts and self._turns.done:
            self._terminal.fresh()
            self._terminal.grow(_PROMPT, "bold blue")

    async def _type(self, lines: AsyncIterator[str], patience_s: float) -> None:
        self._prompt()
        async for line in lines:
            if self._prompts:
                self._terminal.typed()
            if line == "/quit":
                return
            await self._obey(line, patience_s)
            self._prompt()
        try:
            while not self._turns.done:
                self._came.clear()
                async with asyncio.timeout(patience_s):
                    await self._came.wait()
        except TimeoutError as error:
            raise VoicebusError("no_answer", f"nothing came for {patience_s:g} s", temporary=True) from error

    async def _obey(self, line: str, patience_s: float) -> None:
        if line == "/stop":
            self._connection.interrupt()
        elif line in ("/yes", "/no") and self._asked:
            self._connection.approve_tool(self._asked, approved=line == "/yes")
            self._asked = None
        elif line.startswith("/"):
            self._terminal.note(HELP)
        elif line:
            await self._say(line, patience_s)

    async def _say(self, line: str, patience_s: float) -> None:
        message_id = uuid4().hex
        self._turns.expect(message_id)
        try:
            if self._prompts:
                await self._connection.send_text(line, id=message_id)
            else:
                await self._send_in_time(line, message_id, patience_s)
        except VoicebusError as error:
            self._turns.forget(message_id)
            if not (error.temporary and self._prompts):
                raise
            self._terminal.note(f"not sent: {error}")

    async def _send_in_time(self, line: str, message_id: str, patience_s: float) -> None:
        """A file's line waits as long as it is told to, and if it is told so again, until the patience ends."""
        waited_s = 0.0
        while True:
            try:
                await self._connection.send_text(line, id=message_id)
            except VoicebusError as error:
                if not error.temporary or error.retry_after_ms is None or waited_s > patience_s:
                    raise
                again_s = error.retry_after_ms / 1000
                self._terminal.note(f"waits {again_s:.0f} s: {error}")
                await asyncio.sleep(again_s)
                waited_s += again_s
            else:
                return

    async def _show(self) -> None:
        async for event in self._connection:
            self._print(event)
            open_before = not self._turns.done
            self._turns.see(event)
            if self._turns.done and open_before:
                self._interrupting = False
                self._prompt()
            self._came.set()

    def _print(self, event: Event) -> None:
        match event.type:
            case "token":
                self._shown = event.data.get("response_id")
                self._terminal.grow(str(event.data.get("token", "")), style_of(event))
            case "response":
                self._terminal.fresh()
                if self._shown != event.data.get("response_id"):
                    self._terminal.line(str(event.data.get("content", "")), "green")
            case "tool_approval_request":
                self._asked = str(event.data.get("tool_call_id"))
                self._terminal.line(f"  ? {summary(event)}: /yes or /no", style_of(event))
            case "tool_call" | "tool_result":
                self._terminal.line(f"  · {summary(event)}", "dim")
            case "response_restarted":
                self._terminal.line("  · (once more)", "dim")
            case "interrupted" | "gap" | "error" | "warning" | "session_end":
                self._terminal.line(f"  ! {event.type}: {summary(event)}", style_of(event))


async def chat(bus: Voicebus, terminal: Terminal, source: TextIO, *, session_id: str | None, patience_s: float) -> None:
    """Reads lines from `source` and talks to a session; without one it makes one, and ends it.

    Raises:
        VoicebusError: the server refused, or did not answer.
    """
    made = None if session_id else await bus.create_session(mode="text")
    session_id = made.session_id if made else session_id or ""
    try:
        async with bus.connect(session_id) as connection:
            prompts = source.isatty() and terminal.is_read_by_a_person
            if source.isatty():
                terminal.note(HELP, "dim")
            await Chat(connection, terminal, prompts=prompts).run(read_lines(source), patience_s)
    finally:
        if made:
            await bus.end_session(made.session_id)


async def read_lines(source: TextIO) -> AsyncIterator[str]:
    """The lines of a file, pipe or terminal, stripped. A thread waits for them, which does not outlive the process."""
    lines: asyncio.Queue[str | Exception | None] = asyncio.Queue(_LINES)
    loop = asyncio.get_running_loop()

    def put(line: str | Exception | None) -> None:
        asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()

    def read() -> None:
        try:
            for line in source:
                put(line.strip().encode("utf-8", "replace").decode())  # half a character can't be sent
            put(None)
        except (UnicodeDecodeError, OSError) as error:
            put(error)
        except RuntimeError:  # the loop is closed: nobody wants the lines any more
            return

    threading.Thread(target=read, name="reading lines", daemon=True).start()
    while (line := await lines.get()) is not None:
        if isinstance(line, Exception):
            raise line
        yield line
