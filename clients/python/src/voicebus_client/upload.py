"""The state of one microphone stream over all connections: what to send next, and what answers mean. Pure."""

from dataclasses import asdict, dataclass
from enum import Enum, auto
from uuid import uuid4

import orjson

from voicebus_client.audio_buffer import AudioBuffer
from voicebus_client.errors import AudioRefused, VoicebusError
from voicebus_client.outbox import Ack


@dataclass(frozen=True, slots=True)
class AudioSpec:
    """How the bytes of a stream are to be read."""

    format: str = "pcm16"  # pcm16 (little-endian), wav, opus, webm, mulaw
    sample_rate: int = 16_000  # hertz
    channels: int = 1  # interleaved


class _Phase(Enum):
    WAITING = auto()  # `audio.start` is to be sent
    STARTING = auto()  # … was sent
    OPEN = auto()  # bytes flow
    ASKING = auto()  # `audio.stop` is to be sent again on a new connection: it may have worked
    STOPPING = auto()  # … was sent
    OVER = auto()


class Upload:
    """One stream. `error` is what ended it if it failed, `stopped` the acknowledgement of its stop.

    The stop follows the last byte without a wait. If the connection breaks before its answer, the stop is asked for
    again before anything else: a stream that is still its former connection's refuses it, one that was stopped
    confirms it. The id of a start names its offset, so that a start sent again is the same message.
    """

    def __init__(self, spec: AudioSpec, buffer: AudioBuffer, *, frame_bytes: int) -> None:
        self.stream = uuid4().hex
        self.buffer = buffer
        self.started = False
        self.error: VoicebusError | None = None
        self.stopped: Ack | None = None
        self.needs_link = False  # the server can't serve the stream on this connection: try another one
        self._spec = spec
        self._frame_bytes = frame_bytes
        self._phase = _Phase.WAITING
        self._start_id = ""
        self._stop_id = uuid4().hex
        self._stop_sent = False
        self._stop_wanted = False
        self._asked = False  # whether the stop worked, since the last start
        self._trouble: VoicebusError | None = None  # with bytes before the stop
        self._abandoned = False

    @property
    def over(self) -> bool:
        """Whether nothing more will be sent."""
        return self._phase is _Phase.OVER

    @property
    def stopping(self) -> bool:
        """Whether no more bytes may be written."""
        return self._stop_wanted

    @property
    def waits(self) -> bool:
        """Whether an answer of the server is needed to go on."""
        return not self.over and (not self.started or self._stop_wanted or self.buffer.room == 0)

    def linked(self, *, void: bool) -> None:
        """A new connection; `void`: the server may have lost what it acknowledged."""
        self.needs_link = False
        if self.over:
            return
        if void:
            self.buffer.roll_back()
        else:
            self.buffer.rewind()
        self._phase = _Phase.ASKING if self._stop_sent else _Phase.WAITING

    def stop(self, *, abandon: bool = False) -> None:
        """No more bytes will be written. `abandon`: those that were not sent yet don't matter."""
        self._stop_wanted = True
        self._abandoned = self._abandoned or abandon
        if abandon and not self._start_id:
            self._phase = _Phase.OVER  # nobody has heard of the stream

    def fail(self, error: VoicebusError) -> None:
        """The stream can't go on."""
        if not self.over:
            self.error = error
            self._phase = _Phase.OVER

    def next_frame(self) -> str | bytes | None:
        """What to send now: JSON text, audio, or nothing until something changes."""
        match self._phase:
            case _Phase.WAITING:
                return self._start()
            case _Phase.OPEN:
                return self._flow()
            case _Phase.ASKING:
                return self._stop()
            case _:
                return None

    def audio_acknowledged(self, offset: int) -> None:
        """The server has all bytes below this offset."""
        self.buffer.acknowledge(offset)

    def acknowledged(self, ack: Ack) -> bool:
        """A message took effect; returns whether it was one of this stream's."""
        if ack.id == self._start_id and self._phase is _Phase.STARTING:
            self.started = True
            self._asked = False
            self._phase = _Phase.OPEN
        elif ack.id == self._stop_id and self._phase is _Phase.STOPPING:
            if self._trouble is not None:
                self.fail(self._trouble)
            else:
                self.stopped = ack
                self._phase = _Phase.OVER
        return ack.id in (self._start_id, self._stop_id)

    def refused(self, ref: str, error: VoicebusError) -> bool:
        """The server refused a message; returns whether it was one of this stream's."""
        if ref == self._start_id and self._phase is _Phase.STARTING:
            self._start_refused(error)
        elif ref == self._stop_id and self._phase is _Phase.STOPPING:
            self._stop_refused(error)
        return ref in (self._start_id, self._stop_id)

    def disturbed(self, error: VoicebusError) -> None:
        """The server complains without naming a message: about the bytes, if there are any on their way."""
        if self._phase is _Phase.STOPPING:
            self._trouble = error
        elif self._phase is _Phase.OPEN:
            self._trouble = None
            if error.code == "audio_gap":
                self._go_back()
            elif error.code == "audio_not_open":
                self.buffer.rewind()
                self._phase = _Phase.ASKING if self._stop_sent else _Phase.WAITING
            elif isinstance(error, AudioRefused):
                self.fail(error)
            else:
                self.needs_link = self.needs_link or error.temporary

    def _start_refused(self, error: VoicebusError) -> None:
        if error.code == "audio_gap" and self._stop_sent and not self._asked:
            self._phase = _Phase.ASKING
        elif error.code == "audio_gap" and self.buffer.base < self.buffer.acked:
            self._go_back()
        elif self.started and error.temporary and error.code != "audio_busy":
            self.needs_link = True
        else:
            self.fail(error)

    def _stop_refused(self, error: VoicebusError) -> None:
        if error.code == "audio_taken_over":  # by nobody: it is still open, and its former connection's
            self.buffer.rewind()
            self._phase = _Phase.WAITING
        elif error.code == "audio_not_open":
            self._go_back()
        elif error.temporary:
            self.needs_link = True
        else:
            self.fail(error)

    def _go_back(self) -> None:
        self.buffer.roll_back()
        self._phase = _Phase.WAITING

    def _start(self) -> str:
        offset = self.buffer.sent
        self._start_id = f"{self.stream}.{offset}"
        self._phase = _Phase.STARTING
        start = {"type": "audio.start", "id": self._start_id, "stream": self.stream, "offset": offset}
        return orjson.dumps(start | asdict(self._spec)).decode()

    def _flow(self) -> str | bytes | None:
        if not self._abandoned and self.buffer.sent < self.buffer.end:
            return self.buffer.take(self._frame_bytes)
        return self._stop() if self._stop_wanted else None

    def _stop(self) -> str:
        self._asked = self._phase is _Phase.ASKING
        self._phase = _Phase.STOPPING
        self._stop_sent = True
        self._trouble = None
        return orjson.dumps({"type": "audio.stop", "id": self._stop_id, "stream": self.stream}).decode()
