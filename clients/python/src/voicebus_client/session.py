"""What is in progress in a session, whichever connection serves it: input waiting for acknowledgement, output for the
application. It does no I/O: `connection.py` brings the events and takes the frames.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import orjson

from voicebus_client.audio_buffer import AudioBuffer
from voicebus_client.errors import AudioRefused, VoicebusError, error_from_data, make_error
from voicebus_client.events import Event
from voicebus_client.inbox import Inbox
from voicebus_client.intake import Intake
from voicebus_client.microphone import Microphone
from voicebus_client.options import Options
from voicebus_client.outbox import Ack, Outbox
from voicebus_client.position import Position
from voicebus_client.upload import AudioSpec, Upload


class SessionState:
    """`wake` is called whenever there may be something new to send."""

    def __init__(self, position: Position | None, options: Options, wake: Callable[[], None]) -> None:
        self.intake = Intake(position)
        self.inbox = Inbox(options.inbox_events)
        self.entered = asyncio.Event()  # welcomed once, or over
        self.welcome: Event | None = None  # the latest
        self.linked = False
        self.drain_at_s: float | None = None  # when to leave this connection
        self.return_at_s: float | None = None  # when the server wants to see the client again
        self.token_expiring = False
        self._options = options
        self._wake = wake
        self._outbox = Outbox(options.outbox_messages, options.kept_messages)
        self._waiters: dict[str, asyncio.Future[Ack]] = {}
        self._microphone: Microphone | None = None
        self._upload: Upload | None = None
        self._played: str | None = None
        self._played_sent = False
        self.over: VoicebusError | None = None  # why nothing more can be sent

    @property
    def waits(self) -> bool:
        """Whether someone waits for an answer of the server."""
        return len(self._outbox) > 0 or (self._upload is not None and self._upload.waits)

    @property
    def needs_link(self) -> bool:
        """Whether another connection may do what this one can't."""
        return self._upload is not None and self._upload.needs_link

    def submit(self, message: Mapping[str, Any], message_id: str | None) -> asyncio.Future[Ack]:
        """Takes a message to be sent until it is acknowledged.

        Raises:
            OutboxFull: too many messages wait.
            VoicebusError: `id_conflict`, or what ended the connection.
        """
        if self.over is not None:
            raise self.over
        message_id = message_id or uuid4().hex
        self._outbox.add(message_id, orjson.dumps({**message, "id": message_id}).decode())
        waiter = self._waiters.get(message_id)
        if waiter is None or waiter.cancelled():
            waiter = self._waiters[message_id] = asyncio.get_running_loop().create_future()
        self._wake()
        return waiter

    def report_played(self, turn: int, segment: int, ms: int) -> None:
        """Notes how far playback came: only the latest report matters."""
        report = {"type": "played", "turn": turn, "segment": segment, "ms": ms}
        self._played, self._played_sent = orjson.dumps(report).decode(), False
        self._wake()

    def open_microphone(self, spec: AudioSpec) -> Microphone:
        """A new microphone stream.

        Raises:
            AudioRefused: `audio_busy`: the former one isn't over.
            VoicebusError: what ended the connection.
        """
        if self.over is not None:
            raise self.over
        if self._upload is not None and not self._upload.over:
            raise AudioRefused("audio_busy", "This connection has a microphone stream already.", temporary=True)
        buffer = AudioBuffer(self._options.audio_waiting_bytes, self._options.audio_kept_bytes)
        self._upload = Upload(spec, buffer, frame_bytes=self._options.audio_frame_bytes)
        self._microphone = Microphone(self._upload, self._wake)
        if self.linked:
            self._upload.linked(void=False)
        return self._microphone

    def join(self, welcome: Event) -> None:
        """A connection is open: whatever waits is sent on it. Also for a second welcome on the same connection."""
        void = self.intake.joined(welcome)
        self.welcome = welcome
        self.entered.set()
        if void:
            self._void()
        if not self.linked:
            self.linked = True
            self._played_sent = False
            self._outbox.linked()
            if self._upload is not None:
                self._upload.linked(void=void)
        self._wake()

    def unlink(self) -> None:
        """The connection ended; nothing can be sent, and what it said of itself counts no more."""
        self.linked = False
        self.drain_at_s = self.return_at_s = None
        self.token_expiring = False

    def next_frame(self) -> str | bytes | None:
        """What to send now: text, binary, or nothing until `wake` is called."""
        if not self.linked:
            return None
        frame = self._outbox.next()
        if frame is None and self._played is not None and not self._played_sent:
            self._played_sent = True
            frame = self._played
        if frame is None and self._upload is not None:
            return self._upload.next_frame()
        return frame

    def control(self, event: Event, now_s: float) -> bool:
        """Handles what isn't for the application; returns whether it was that.

        Raises:
            BadFrame: a field is missing.
        """
        match event.type:
            case "ack":
                self._acknowledged(Ack(str(event.data.get("id")), event.number("seq")))
            case "audio_ack":
                self._audio_acknowledged(event)
            case "error":
                return self._failed(event, now_s)
            case "drain":
                self.drain_at_s = self.return_at_s = now_s + event.number("reconnect_after_ms") / 1000
            case "token_expiring":
                self.token_expiring = True
                self._wake()
                return False
            case kind:
                return kind == "pong"
        return True

    def take(self, event: Event) -> None:
        """Gives an event to the application, unless it was seen before.

        Raises:
            HoleFound: something before it is missing.
            BadFrame: a field is missing.
        """
        for taken in self.intake.take(event):
            if taken.type == "gap":
                self._void()
            if self.intake.position is not None:
                self.inbox.put(taken, self.intake.position)

    def close(self, error: VoicebusError | None) -> None:
        """Nothing more will come: every waiter is told so."""
        if self.over is not None:
            return
        self.over = error or make_error("session_ended", "The session has ended.", status=410)
        self.linked = False
        self.entered.set()
        self.inbox.close(error)
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(self.over)
                waiter.exception()  # who does not await it is not to be bothered
        self._waiters.clear()
        if self._upload is not None:
            self._upload.fail(self.over)
            self._changed()

    def _acknowledged(self, ack: Ack) -> None:
        if self._outbox.acknowledged(ack.id, ack.seq, self.intake.epoch):
            waiter = self._waiters.pop(ack.id, None)
            if waiter is not None and not waiter.done():
                waiter.set_result(ack)
        elif self._upload is not None and self._upload.acknowledged(ack):
            self._changed()

    def _audio_acknowledged(self, event: Event) -> None:
        if self._upload is not None and event.data.get("stream") == self._upload.stream:
            self._upload.audio_acknowledged(event.number("offset"))
            self._changed()

    def _failed(self, event: Event, now_s: float) -> bool:
        error, ref = error_from_data(event.data), event.data.get("ref")
        if isinstance(ref, str):
            if self._outbox.refused(ref):
                waiter = self._waiters.pop(ref, None)
                if waiter is not None and not waiter.done():
                    waiter.set_exception(error)
            elif self._upload is not None and self._upload.refused(ref, error):
                self._changed()
            return event.seq is None
        if event.seq is None:
            if error.retry_after_ms is not None:
                self.return_at_s = now_s + error.retry_after_ms / 1000
            if self._upload is not None:
                self._upload.disturbed(error)
                self._changed()
        return False

    def _void(self) -> None:
        """Redis may have rolled back: what was acknowledged behind the position is sent again."""
        position = self.intake.position
        if position is not None and self._outbox.void_above(position.seq, self.intake.epoch):
            self._wake()

    def _changed(self) -> None:
        if self._microphone is not None:
            self._microphone.changed()
        self._wake()
