"""A small WebSocket server that keeps one session by the protocol, and fails exactly as a test says."""

import asyncio
from base64 import b64encode
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from voicebus_client.events import pack_frame

Item = dict[str, Any]


@dataclass
class Refusal:
    """How the next connection ends: before its welcome, with this close code."""

    code: int
    reason: str = ""
    error: dict[str, Any] | None = None  # told before


@dataclass
class ScriptedGateway:
    """`log` and `speech` are the session; the rest are faults, and what was seen of the clients."""

    epoch: str = "aaaaaaaa"
    log: list[Item] = field(default_factory=list)  # events; seq is the place, from 1 on
    speech: list[Item] = field(default_factory=list)  # headers with `audio`; n is the place, from 1 on
    valid: int | None = None  # what readers from other epochs may have seen at most; None: everything
    ping_interval_s: float = 30.0

    cut_after: deque[int] = field(default_factory=deque)  # frames sent, one entry for each connection
    cut_before_ack: deque[int] = field(default_factory=deque)  # messages taken, the last one's answer withheld
    ignore_last: bool = False  # the last message before such a cut is not even carried out
    refusals: deque[Refusal] = field(default_factory=deque)
    http_refusals: deque[int] = field(default_factory=deque)
    early: list[Item] = field(default_factory=list)  # what a hasty gateway says before its welcome
    repeat: bool = False  # every item is sent twice
    hidden: deque[int] = field(default_factory=deque)  # seqs that are left out, one for each connection
    mute: bool = False  # nothing is answered any more
    refused_ids: dict[str, dict[str, Any]] = field(default_factory=dict)  # by content
    good_token: str | None = None

    connections: list[dict[str, str]] = field(default_factory=list)  # their queries
    tokens: list[str] = field(default_factory=list)
    received: list[Item] = field(default_factory=list)
    effects: list[Item] = field(default_factory=list)  # one for each message id
    audio: bytearray = field(default_factory=bytearray)
    audio_closed: list[str] = field(default_factory=list)
    pings: int = 0
    url: str = ""

    _seen: dict[str, int] = field(default_factory=dict)
    _stream: str | None = None
    _owner: object = None
    _live: "list[_Served]" = field(default_factory=list)

    def add(self, kind: str, turn: int | None = 1, **data: Any) -> int:
        """Appends a durable event; connected clients get it."""
        seq = len(self.log) + 1
        event = {"seq": seq, "type": kind, "turn": turn, "session_id": "s", "agent_type": "personal", "data": data}
        self.log.append(event)
        self._publish(event)
        return seq

    def speak(self, audio: bytes, *, segment: int = 0, is_last: bool = False) -> None:
        """Appends a chunk of speech behind the last event."""
        n = len(self.speech) + 1
        data = {"n": n, "after_seq": len(self.log), "segment": segment, "sample_rate": 16_000, "is_last": is_last}
        chunk = {"type": "tts", "turn": 1, "session_id": "s", "data": data, "audio": audio}
        self.speech.append(chunk)
        self._publish(chunk)

    def tell(self, kind: str, **data: Any) -> None:
        """Sends a message that is not in the log to every client."""
        self._publish({"type": kind, "session_id": "s", "data": data})

    def close_all(self, code: int, reason: str = "") -> None:
        """Ends every connection with a close code."""
        for served in self._live:
            served.queue.put_nowait((code, reason))

    def cut_all(self) -> None:
        """Breaks every connection."""
        for served in self._live:
            served.socket.transport.abort()

    def items_after(self, seq: int, n: int) -> list[Item]:
        """Events and speech behind a position, in order."""
        chunks = [((c["data"]["after_seq"], 1, c["data"]["n"]), c) for c in self.speech[n:]]
        events = [((e["seq"], 0, 0), e) for e in self.log[seq:]]
        return [item for _, item in sorted([*events, *chunks], key=lambda pair: pair[0])]

    def _publish(self, item: Item) -> None:
        for served in self._live:
            served.queue.put_nowait(item)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["ScriptedGateway"]:
        """The server, on a free port of the loopback."""
        async with serve(self._serve, "127.0.0.1", 0, process_request=self._admit, ping_interval=None) as server:
            host, port = server.sockets[0].getsockname()[:2]
            self.url = f"http://{host}:{port}"
            yield self
            self.cut_all()

    def _admit(self, socket: ServerConnection, _: Request) -> Response | None:
        return socket.respond(self.http_refusals.popleft(), "no") if self.http_refusals else None

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        query = {name: values[0] for name, values in parse_qs(urlsplit(socket.request.path).query).items()}
        self.connections.append(query)
        token = socket.request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.tokens.append(token)
        served = _Served(socket, query, self.cut_after.popleft() if self.cut_after else None, self)
        with suppress(ConnectionClosed):
            if self.good_token not in (None, token):
                self.refusals.appendleft(Refusal(4401, "token_expired"))
            if self.refusals:
                await served.refuse(self.refusals.popleft())
                return
            self._live.append(served)
            try:
                await served.run()
            finally:
                self._live.remove(served)

    def carry_out(self, connection: object, message: Item) -> Item:
        """Does what a message says, once for each id; returns the answer."""
        message_id = message.get("id")
        refused = self.refused_ids.get(message.get("content", ""))
        if refused is not None:
            return {"type": "error", "data": {"ref": message_id, **refused}}
        if message["type"] in ("audio.start", "audio.stop"):
            code = self._steer_audio(connection, message)
            if code is not None:
                return {"type": "error", "data": {"ref": message_id, "code": code, "message": code}}
        if message_id is None:
            self.effects.append(message)
            return {}
        if message_id not in self._seen:
            self.effects.append(message)
            self._seen[message_id] = (
                self.add("user", content=message["content"], id=message_id)
                if message["type"] == "text"
                else len(self.log)
            )
        return {"type": "ack", "data": {"id": message_id, "seq": self._seen[message_id]}}

    def forget(self, seq: int, epoch: str) -> None:
        """Redis rolls back to `seq`, as another epoch."""
        del self.log[seq:]
        self.speech = [chunk for chunk in self.speech if chunk["data"]["after_seq"] <= seq]
        self._seen = {message_id: ack for message_id, ack in self._seen.items() if ack <= seq}
        self.epoch, self.valid = epoch, seq

    def _steer_audio(self, connection: object, message: Item) -> str | None:
        stream = message["stream"]
        if message["type"] == "audio.stop":
            if stream in self.audio_closed:
                return None
            if self._owner is not connection:
                return "audio_taken_over"
            self._stream = None
            self.audio_closed.append(stream)
            return None
        if stream in self.audio_closed:
            return None if message["id"] in self._seen else "audio_gap"
        if self._stream not in (None, stream):
            return "audio_busy"
        if message["offset"] > len(self.audio):
            return "audio_gap"
        self._stream, self._owner = stream, connection
        return None

    def take_audio(self, connection: object, offset: int, data: bytes) -> Item:
        """Appends bytes of the open stream."""
        if self._owner is not connection:
            return {"type": "error", "data": {"code": "audio_not_open", "message": ""}}
        assert offset <= len(self.audio), "bytes were left out"
        self.audio += data[len(self.audio) - offset :]
        return {"type": "audio_ack", "data": {"stream": self._stream, "offset": len(self.audio)}}


class _Served:
    """One connection."""

    def __init__(self, socket: ServerConnection, query: dict[str, str], cut: int | None, gateway: ScriptedGateway):
        self.socket = socket
        self.queue: asyncio.Queue[Item | tuple[int, str]] = asyncio.Queue()
        self._query = query
        self._left = cut
        self._gateway = gateway
        self._takes = gateway.cut_before_ack.popleft() if gateway.cut_before_ack else None
        self._hidden = gateway.hidden.popleft() if gateway.hidden else None
        self._offset = 0

    async def refuse(self, refusal: Refusal) -> None:
        if refusal.error is not None:
            await self._send({"type": "error", "data": refusal.error})
        await self.socket.close(refusal.code, refusal.reason)

    async def run(self) -> None:
        sending = asyncio.create_task(self._send_on())
        try:
            await self._receive_on()
        finally:
            sending.cancel()
            await asyncio.wait([sending])

    async def _send_on(self) -> None:
        with suppress(ConnectionClosed):
            for item in self._replay():
                await self._send(item)
            while True:
                item_or_close = await self.queue.get()
                if isinstance(item_or_close, tuple):
                    await self.socket.close(*item_or_close)
                    return
                await self._send(item_or_close)

    def _replay(self) -> list[Item]:
        gateway, query = self._gateway, self._query
        head, heard = len(gateway.log), len(gateway.speech)
        welcome = {"epoch": gateway.epoch, "seq": head, "speech": heard, "ping_interval_s": gateway.ping_interval_s}
        out: list[Item] = [*gateway.early, {"type": "welcome", "data": welcome}]
        if "after" not in query:
            return out
        seq, n = int(query["after"]), int(query.get("speech", heard))
        if query.get("epoch", gateway.epoch) != gateway.epoch and gateway.valid is not None and seq > gateway.valid:
            data = {"stream": "events", "from": gateway.valid + 1, "to": seq, "reason": "epoch_changed"}
            out += [{"type": "gap", "data": data}, {"type": "state_snapshot", "data": {"state": {}}}]
            seq = gateway.valid
        return out + gateway.items_after(seq, min(n, heard))

    async def _send(self, item: Item) -> None:
        if item.get("seq") is not None and item["seq"] == self._hidden:
            return
        for _ in range(2 if self._gateway.repeat and item["type"] not in ("welcome", "gap") else 1):
            if self._left is not None:
                if self._left == 0:
                    self.cut()
                self._left -= 1
            await self.socket.send(self._frame(item))

    def _frame(self, item: Item) -> str | bytes:
        if "audio" not in item:
            return orjson.dumps(item).decode()
        header = {name: value for name, value in item.items() if name != "audio"}
        if self._query.get("audio") == "binary":
            return pack_frame(header, item["audio"])
        data = header["data"] | {"audio": b64encode(item["audio"]).decode(), "format": "base64"}
        return orjson.dumps(header | {"data": data}).decode()

    async def _receive_on(self) -> None:
        async for frame in self.socket:
            if self._gateway.mute:
                continue
            if self._takes == 0 and self._gateway.ignore_last:
                self.cut()
            answer = self._handle(frame)
            if self._takes == 0:
                self.cut()
            if self._takes is not None:
                self._takes -= 1
            if answer:
                self.queue.put_nowait(answer)

    def _handle(self, frame: str | bytes) -> Item:
        if isinstance(frame, bytes):
            answer = self._gateway.take_audio(self, self._offset, frame)
            self._offset += len(frame)
            return answer
        message = orjson.loads(frame)
        if message["type"] == "ping":
            self._gateway.pings += 1
            return {"type": "pong", "data": {}}
        self._gateway.received.append(message)
        answer = self._gateway.carry_out(self, message)
        if message["type"] == "audio.start" and answer["type"] == "ack":
            self._offset = message["offset"]
            data = {"stream": message["stream"], "offset": len(self._gateway.audio)}
            self.queue.put_nowait({"type": "audio_ack", "data": data})
        return answer

    def cut(self) -> NoReturn:
        """Breaks the connection here."""
        self.socket.transport.abort()
        raise ConnectionClosed(None, None)
