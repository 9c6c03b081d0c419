"""A session as one lasting stream of events, over as many WebSockets as it takes."""

import asyncio
import logging
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from voicebus_client.commands import Commands
from voicebus_client.dial import AudioForm, open_socket, socket_url
from voicebus_client.errors import Closed, Unauthorized, Unreachable, VoicebusError, make_error
from voicebus_client.events import Event
from voicebus_client.link import Ending, Link, Signals
from voicebus_client.microphone import Microphone
from voicebus_client.options import Options
from voicebus_client.outbox import Ack
from voicebus_client.position import Position
from voicebus_client.protocol import Backoff, Reconnect, Retry, Stop
from voicebus_client.session import SessionState
from voicebus_client.tokens import Tokens
from voicebus_client.upload import AudioSpec

_LOG = logging.getLogger("voicebus_client")


class Connection(Commands):
    """Made by `Voicebus.connect` and used as `async with`; then iterated by one task.

    It gives each durable event and speech chunk once and in order, and connects again by itself; what can't be
    replayed is told by an event of type `gap`. Iteration ends with the session; it raises a `VoicebusError` if the
    server won't have the client back. Messages go out over it as `Commands` and `audio_stream` say.
    """

    def __init__(
        self,
        base_url: str,
        session_id: str,
        tokens: Tokens,
        *,
        position: Position | None = None,
        audio: AudioForm = "binary",
        options: Options | None = None,
    ) -> None:
        socket_url(base_url, session_id, position, audio)
        self.session_id = session_id
        self._base_url = base_url
        self._tokens = tokens
        self._position = position
        self._audio = audio
        self._options = options or Options()
        self._signals = Signals()
        self._state = SessionState(position, self._options, self._signals.nudge)
        self._reconnect = Reconnect(
            Backoff(self._options.backoff_s, self._options.backoff_max_s), can_renew=tokens.can_renew
        )
        self._link: Link | None = None
        self._cause: VoicebusError | None = None  # of the latest reconnect
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            VoicebusError: the server refused.
            Unreachable: nobody welcomed the client in time.
        """
        self._task = asyncio.create_task(self._run(), name=f"voicebus session {self.session_id}")
        self._task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(self._options.first_timeout_s):
                await self._state.entered.wait()
        except TimeoutError:
            await self.close()
            raise Unreachable("unreachable", f"not connected in time: {self._cause}", temporary=True) from self._cause
        except BaseException:
            await self.close()
            raise
        if self._state.welcome is None:
            await self.close()
            raise self._state.over or make_error("internal", "no welcome came")
        self._position = self._position or self._state.intake.position
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        item = await self._state.inbox.get()
        if item is None:
            raise StopAsyncIteration
        event, self._position = item
        if self._link is not None:
            self._link.taken()
        return event

    @property
    def position(self) -> Position | None:
        """Behind the event that iteration gave last; a later connection goes on from there."""
        return self._position

    @property
    def welcome(self) -> Event | None:
        """The latest greeting of the server: heads, mode, agent."""
        return self._state.welcome

    @property
    def connected(self) -> bool:
        """Whether a WebSocket is open and was welcomed."""
        return self._state.linked

    def played(self, turn: int, segment: int, ms: int) -> None:
        """Reports how much of a turn's segment was really heard, in milliseconds; call it as often as you like."""
        self._state.report_played(turn, segment, ms)

    def audio_stream(
        self,
        format: str = "pcm16",  # noqa: A002 - the wire's name
        *,
        sample_rate: int = 16_000,
        channels: int = 1,
    ) -> Microphone:
        """A microphone stream, to be used as `async with`; one at a time.

        Raises:
            AudioRefused: `audio_busy`.
        """
        return self._state.open_microphone(AudioSpec(format, sample_rate, channels))

    async def close(self) -> None:
        """Ends the connection; the session goes on. What still waits fails with `Closed`."""
        self._state.close(Closed("closed", "The connection was closed."))
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    def _submit(self, message: Mapping[str, Any], message_id: str | None = None) -> asyncio.Future[Ack]:
        return self._state.submit(message, message_id)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._state.close(make_error("internal", f"the client failed: {error!r}"))

    async def _run(self) -> None:
        """Keeps a WebSocket open until the session ends, or there is no use in trying."""
        now = asyncio.get_running_loop().time
        online_s = now()
        while True:
            step = await self._attempt()
            if self._state.linked:
                online_s = now()
            self._state.unlink()
            if isinstance(step, Retry):
                step = await self._prepare(step, now() - online_s)
            if isinstance(step, Stop):
                self._state.close(step.error)
                return
            await asyncio.sleep(step.delay_s)

    async def _attempt(self) -> Retry | Stop:
        now = asyncio.get_running_loop().time
        url = socket_url(self._base_url, self.session_id, self._state.intake.position, self._audio)
        try:
            socket = await open_socket(url, await self._tokens.headers(), self._options)
        except VoicebusError as error:
            return self._reconnect.refused(error, now())
        self._link = Link(socket, self._state, self._signals, self._tokens, self._options)
        try:
            ending = await self._link.run()
        finally:
            self._link = None
        return self._after(ending, now())

    def _after(self, ending: Ending, now_s: float) -> Retry | Stop:
        if self._state.intake.ended:
            return Stop()
        if ending.at_once:
            return Retry(0.0, make_error("again", ending.reason, temporary=True))
        if self._state.linked:
            self._reconnect.opened()
        return_s = self._state.return_at_s
        if return_s is not None and (return_s > now_s or ending.code == 1012):
            self._reconnect.wait_until(return_s)
        return self._reconnect.closed(ending.code, ending.reason, now_s)

    async def _prepare(self, retry: Retry, offline_s: float) -> Retry | Stop:
        """Looks whether to go on trying, and gets a new token if that is what was missing."""
        self._cause = retry.cause
        give_up_s = self._options.give_up_s
        if give_up_s is not None and offline_s + retry.delay_s > give_up_s:
            return Stop(Unreachable("unreachable", f"offline for too long: {retry.cause}", temporary=True))
        _LOG.info("session %s: %s; again in %.2f s", self.session_id, retry.cause, retry.delay_s)
        if retry.renew:
            try:
                await self._tokens.renew()
            except Unauthorized as error:
                return Stop(error)
        return retry
