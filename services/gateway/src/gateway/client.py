"""One client of a session: its socket, what runs for it, and how it ends."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from gateway import metrics
from gateway.auth import Caller
from gateway.connections import Connections
from gateway.frames import text_frame
from gateway.link import Link
from voicebus.contract.close import Close
from voicebus.contract.codec import dump_event
from voicebus.contract.errors import VoicebusError
from voicebus.contract.events import Envelope
from voicebus.contract.payloads import Frozen
from voicebus.contract.sessions import Session

_log = structlog.get_logger(__name__)
GONE: Final = "client"  # stands for a close code where the client ended it
_GOES_ON_S: Final = 5.0


class Closed(Exception):
    """The connection ends with this close code."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Client:
    """Idle, it is little more than its socket: there are tasks only while something is to be done."""

    __slots__ = ("_connections", "_room", "_tasks", "_told", "agent", "caller", "is_over", "link", "session_id")

    def __init__(
        self, link: Link, connections: Connections, session: Session, caller: Caller, told: Callable[[], None]
    ) -> None:
        self.link = link
        self.session_id = session.session_id
        self.agent = session.agent_type
        self.caller = caller
        self.is_over = False
        self._connections = connections
        self._told = told  # that it is over
        self._tasks: dict[asyncio.Task[None], bool] | None = None  # and whether they go on when the client has gone
        self._room: asyncio.Event | None = None  # while somebody waits for it

    def start(self, work: Coroutine[Any, Any, None], *, goes_on: bool = False) -> None:
        """Runs until it is done or the connection is over; what it raises ends the connection.

        What `goes_on` has some seconds more when it was the client that ended it: for what it said last.
        """
        if self.is_over:
            work.close()
            return
        task = self._connections.start(self._run(work))
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = goes_on
        task.add_done_callback(self._forget)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began

    async def tell(self, event: type[Envelope], data: Frozen | None = None) -> None:
        """Sends an event that is for this client alone; waits while the client doesn't read."""
        fields = {} if data is None else {"data": data}
        made = event(session_id=self.session_id, agent_type=self.agent, **fields)
        await self.room()
        self.link.write(text_frame(dump_event(made)))

    async def room(self) -> None:
        """Returns once the client takes what is written."""
        while self.link.blocked and not self.is_over:
            if self._room is None:
                self._room = asyncio.Event()
            await self._room.wait()

    def roomy(self) -> None:
        """It takes more again."""
        if self._room is not None:
            self._room.set()
            self._room = None

    def close(self, code: int, reason: str = "") -> None:
        """Ends the connection, saying why."""
        if not self.is_over:
            self.link.close(code, reason)
            self.end(int(code))

    def fail(self) -> None:
        """An error that nobody expected; called while it is handled."""
        _log.exception("connection_failed", session=self.session_id)
        self.close(Close.INTERNAL)

    def end(self, code: int | str) -> None:
        """The connection is over; its tasks are cancelled."""
        if self.is_over:
            return
        self.is_over = True
        metrics.closed.labels(code).inc()
        self.roomy()
        for task, goes_on in (self._tasks or {}).items():
            if goes_on and code == GONE:
                asyncio.get_running_loop().call_later(_GOES_ON_S, task.cancel)
            else:
                task.cancel()
        self._told()

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        with structlog.contextvars.bound_contextvars(session=self.session_id):
            try:
                await work
            except Closed as closed:
                self.close(closed.code, closed.reason)
            except VoicebusError as error:
                _log.warning("connection_failed", code=error.code, reason=error.message)
                self.close(error.close_code or Close.INTERNAL, error.code)
            except Exception:  # noqa: BLE001 - one client's failure is its own
                self.fail()

    def _forget(self, task: asyncio.Task[None]) -> None:
        if self._tasks is not None:
            self._tasks.pop(task, None)
            if not self._tasks:
                self._tasks = None
