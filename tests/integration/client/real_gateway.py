"""Real gateways on a real Redis, what stands for the workers, and a balancer that breaks connections."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from jose import jwt
from support.processes import RunningGateway, gateway_process

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.bus.settings import BusSettings
from voicebus.contract.events import Envelope, Response, Stt, Token, User
from voicebus.contract.keys import Stage
from voicebus.contract.mail import AudioChunk, AudioStopped, Sentence, UserTurn
from voicebus.contract.payloads import ResponseData, SttData, TokenData, UserData

SECRET = "only for tests, but long enough to be a key"


def token(sub: str = "ada", *, lasts_s: float = 600) -> str:
    """A token as the gateways expect it."""
    expires = datetime.now(UTC) + timedelta(seconds=lasts_s)
    claims = {"sub": sub, "aud": "voicebus", "iss": "voicebus", "exp": expires}
    return str(jwt.encode(claims, SECRET, algorithm="HS256"))


@contextmanager
def running_gateway(settings: BusSettings, **more: str) -> Iterator[RunningGateway]:
    """A gateway that serves the data of these settings."""
    environment = {"PARTITIONS": str(settings.partitions), "JWT_SECRET": SECRET, "LOG_LEVEL": "error", **more}
    with gateway_process(settings.redis_url, settings.prefix, **environment) as running:
        yield running


async def answer(bus: Bus, session_id: str, words: Sequence[str], chunks: Sequence[bytes] = ()) -> None:
    """Does what agent and TTS do with the next turn: tokens, one sentence, its speech, the response."""
    agent = await _lease(bus, session_id, "agent")
    delivery = await agent.next()
    assert delivery is not None
    assert isinstance(delivery.mail, UserTurn)
    turn, response_id = delivery.mail.turn, f"r{delivery.mail.turn}"
    about = Emission(turn, response_id).begin()
    for word in words:
        about.event(Token(session_id=session_id, turn=turn, data=TokenData(token=word, response_id=response_id)))
    if chunks:
        about.sentence(Sentence(turn=turn, response_id=response_id, segment=0, text="".join(words)))
    await agent.emit(about)
    if chunks:
        await _speak(bus, session_id, turn, response_id, chunks)
    data = ResponseData(content="".join(words), response_id=response_id, segments=1 if chunks else 0)
    end = Emission(turn, response_id).event(Response(session_id=session_id, turn=turn, data=data))
    await agent.emit(end.answered(turn).cursor(delivery.id))
    await _give_back(agent)


async def hear(bus: Bus, session_id: str, text: str) -> bytes:
    """Does what STT does with a whole stream: waits for its end, opens a turn; returns the audio."""
    stt = await _lease(bus, session_id, "stt")
    async with asyncio.timeout(20):
        while not isinstance((mail := await stt.mail_after("0", most=1_000))[-1][1], AudioStopped):
            await stt.renew()
            await asyncio.sleep(0.02)
    said = Stt(session_id=session_id, data=SttData(text=text, is_final=True))
    user = User(session_id=session_id, data=UserData(content=text, input="voice", id="heard"))
    turn = UserTurn(id="heard", content=text, input="voice")
    await stt.emit(Emission().open_turn(said, user, turn).cursor(mail[-1][0]))
    await _give_back(stt)
    return b"".join(letter.data for _, letter in mail if isinstance(letter, AudioChunk))


async def _speak(bus: Bus, session_id: str, turn: int, response_id: str, chunks: Sequence[bytes]) -> None:
    tts = await _lease(bus, session_id, "tts")
    delivery = await tts.next()
    assert delivery is not None
    for number, chunk in enumerate(chunks, start=1):
        await tts.emit(
            Emission(turn, response_id).speech(
                Envelope(session_id=session_id, turn=turn),
                chunk,
                segment=0,
                sample_rate=16_000,
                is_last=number == len(chunks),
            )
        )
    await tts.emit(Emission(turn, response_id).cursor(delivery.id))
    await _give_back(tts)


async def _lease(bus: Bus, session_id: str, stage: Stage) -> Lease:
    stages = bus.stages(stage, "test")
    async with asyncio.timeout(10):
        while (lease := await stages.lease(session_id)) is None:  # noqa: ASYNC110 - as a worker tries
            await asyncio.sleep(0.01)
    return lease


async def _give_back(lease: Lease) -> None:
    if not await lease.release():
        await lease.hand_over()


@dataclass
class Balancer:
    """Passes each connection on to the next port, and breaks it after so many bytes of its answer."""

    ports: list[int]
    cuts: list[int] = field(default_factory=list)  # of the next connections
    passed: list[int] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cut = self.cuts.pop(0) if self.cuts else 1 << 40
        port = self.ports[self.connections % len(self.ports)]
        self.connections += 1
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            writer.transport.abort()
            return
        upward = asyncio.create_task(copy_bytes(reader, up_writer, 1 << 40))
        try:
            self.passed.append(await copy_bytes(up_reader, writer, cut))
        finally:
            upward.cancel()
            await asyncio.wait([upward])
            up_writer.transport.abort()
            writer.transport.abort()


async def copy_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> int:
    """Copies at most so many bytes, until either side ends; returns how many."""
    passed = 0
    try:
        while passed < limit and (data := await reader.read(min(4_096, limit - passed))):
            writer.write(data)
            await writer.drain()
            passed += len(data)
    except ConnectionError:
        pass
    return passed
