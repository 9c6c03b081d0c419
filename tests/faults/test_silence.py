"""A microphone that stays open in silence leaves no mail behind and holds no decoder, and is heard at last.

`SILENCE_MINUTES` is how long it is silent, by the stream's clock; it is fed faster than that. `SEED` repeats a run.
"""

import array
import asyncio
import os
import random
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat

import pytest
from faults.comparison import Comparison
from faults.scenario import SEED, Outcome, Record
from faults.stage_workers import environment_of
from integration.stt_worker.hearing import RECORDINGS, pieces, speech
from integration.stt_worker.talk import Talk, talk
from support.process_tree import children
from support.processes import service

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.settings import BusSettings
from voicebus.contract.audio import AudioSpec
from voicebus.contract.errors import Refused
from voicebus_stack.ports import free_port

MINUTES = float(os.environ.get("SILENCE_MINUTES") or 0.5)
SPEC = AudioSpec(format="pcm16", sample_rate=16_000, channels=1)
PIECE_S = 0.1
PIECE_BYTES = 3_200
FAST, SLOW = 40, 8  # times real time, at most
NOISE_LEVEL = 0.01  # of the recording's: a quiet room
IDLE_S = 1.0
PATIENCE_S = 20.0
QUESTION = "what time is it in new york"
# What a worker keeps of a silent stream: its next cut point comes after 1 s, 0.3 s before what it has heard.
KEPT_PIECES = 15
BEHIND_PIECES = 50  # while it is further behind, it is waited for


def zeros() -> Iterator[bytes]:
    """A microphone that its owner has switched off."""
    return repeat(bytes(PIECE_BYTES))


def quiet_room() -> Iterator[bytes]:
    """Pink noise at a low and wavering level."""
    with wave.open(str(RECORDINGS / "noise.wav")) as file:
        noise = array.array("h", file.readframes(file.getnframes()))
    chance, size = random.Random(SEED), PIECE_BYTES // 2
    shades = [array.array("h", (round(NOISE_LEVEL * shade * sample) for sample in noise)) for shade in (0.5, 1, 1.5)]
    while True:
        at = chance.randrange(len(noise) - size)
        yield chance.choice(shades)[at : at + size].tobytes()


class Behind(Exception):
    """The worker does not let go of so many pieces of a silent stream."""

    def __init__(self, pieces: int) -> None:
        super().__init__(f"{pieces} pieces stay in the mailbox")
        self.pieces = pieces


SILENCES = {"zeros": zeros, "quiet room": quiet_room}


@dataclass
class OpenMicrophone:
    """A stream that is fed faster than real time, and the most that was seen of it while it was."""

    bus: Bus
    client: Talk
    worker: int
    offset: int = 0
    entries: int = 0  # in the mailbox
    memory: int = 0  # of the mailbox, bytes
    decoders: int = 0

    async def start(self) -> None:
        """Opens the stream."""
        await self.bus.inbox.audio_start(self.client.session_id, "c1", "s1", SPEC, 0)

    async def feed(self, audio: Iterable[bytes], *, speed: float) -> None:
        """The stream's next pieces; waits while the worker is far behind, which it may not be for long."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for i, piece in enumerate(audio):
            await asyncio.sleep(max(0.0, began + i * PIECE_S / speed - loop.time()))
            await self._send(piece)
            if i % 5 == 0:
                await self.look()
                await self._until_behind(BEHIND_PIECES)

    async def mailbox(self) -> tuple[int, int]:
        """Its entries and its memory in bytes."""
        key = self.bus.keys.of(self.client.session_id).mail("stt")
        memory = await self.bus.calls.command("MEMORY", "USAGE", key, "SAMPLES", 0)
        return await self.bus.calls.command("XLEN", key), memory or 0

    async def look(self) -> None:
        """Notes what there is now."""
        entries, memory = await self.mailbox()
        self.entries, self.memory = max(self.entries, entries), max(self.memory, memory)
        self.decoders = max(self.decoders, sum(len(children(process)) for process in children(self.worker)))

    async def ask(self, audio: Iterable[bytes]) -> None:
        """Speaks, and looks until one more thing was understood."""
        known = len(self.client.finals)
        await self.feed(audio, speed=SLOW)
        end_s = asyncio.get_running_loop().time() + PATIENCE_S
        while len(self.client.finals) == known:
            assert asyncio.get_running_loop().time() < end_s, "nothing was understood"
            await self.look()
            await asyncio.sleep(0.005)

    async def until_given_back(self) -> None:
        """Waits until no worker holds the session for this stream."""
        try:
            await self.client.until_released(timeout_s=PATIENCE_S)
        except TimeoutError:
            raise AssertionError("the worker keeps a stream without frames") from None

    async def until_kept(self) -> None:
        """Waits until the worker has let go of all that it needs not."""
        await self._until_behind(KEPT_PIECES)

    async def _until_behind(self, most: int) -> None:
        """Raises `Behind`."""
        try:
            await self.client.until_waiting(most, timeout_s=PATIENCE_S)
        except TimeoutError:
            raise Behind(await self.client.waiting() - most) from None

    async def _send(self, piece: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.bus.inbox.audio(self.client.session_id, "c1", "s1", self.offset, piece)
                except Refused as error:
                    if error.code != "overloaded":
                        raise
                    await asyncio.sleep(0.05)
                else:
                    self.offset += len(piece)
                    return


@pytest.fixture(scope="module")
def settings(redis_url: str) -> BusSettings:
    return BusSettings(redis_url=redis_url, prefix=f"silence{os.getpid()}", partitions=4)


@pytest.fixture(scope="module")
def worker(settings: BusSettings) -> Iterator[int]:
    """The process id of an stt worker."""
    port = free_port()
    environment = {
        **environment_of(settings),
        "REDIS_URL": settings.redis_url,
        "HEALTH_PORT": str(port),
        "STT_IDLE_S": str(IDLE_S),
        "DRAIN_S": "1",
    }
    with service("stt_worker", port, **environment) as process:
        yield process.pid


@pytest.mark.timeout(90 + 30 * MINUTES)
@pytest.mark.parametrize("silence", SILENCES)
async def test_a_question_behind_a_long_silence_is_understood_and_the_mailbox_stays_small(
    settings: BusSettings, worker: int, silence: str, record: Record
) -> None:
    source, found = SILENCES[silence](), Comparison()
    asked = [*pieces(speech(), PIECE_BYTES)[:-1], *islice(source, 10)]
    async with open_bus(settings) as bus, talk(bus) as client:
        microphone = OpenMicrophone(bus, client, worker)
        await microphone.start()
        try:
            await microphone.feed(islice(source, round(MINUTES * 60 / PIECE_S)), speed=FAST)
            await microphone.until_kept()
        except Behind as behind:
            found.check("pieces that stay in the mailbox", [], range(behind.pieces))
        kept, memory = await microphone.mailbox()
        found.check("decoders in silence", [], range(microphone.decoders))
        found.check("events in silence", [], [event.type for event in client.heard])
        if not found.faults:
            for _ in range(2):
                await microphone.ask(asked)
                await microphone.until_given_back()
            found.check("understood", [QUESTION, QUESTION], understood(client))
            found.check("decoders", [0], [microphone.decoders - 1])
    print(*found.faults, sep="\n")
    record(
        Outcome(
            f"a microphone is open in silence ({silence})",
            f"{MINUTES:g} minutes, {microphone.offset / 1e6:.1f} MB heard",
            "none",
            found.tally,
            remarks=f"in the mailbox at most {microphone.entries} entries, {microphone.memory / 1e3:.0f} kB, and "
            f"{kept} entries, {memory / 1e3:.0f} kB in the end; both questions behind it understood",
        )
    )


def understood(client: Talk) -> list[str]:
    return [final.data.text for final in client.finals]
