"""A client is cut off in the middle of a sentence and comes back after three seconds: no word is lost or doubled."""

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
from faults.comparison import compared
from faults.crowd import OWNER, QUICK
from faults.gateways import running_gateways
from faults.installation import FRAME_S, SILENT_FRAMES
from faults.proxy import Proxy, proxy
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.tally import total
from support.process_tree import soon
from support.processes import SECRET, WorkerPool

from voicebus.bus.settings import BusSettings
from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.position import Position
from voicebus_stack.question import Question, load_question
from voicebus_stack.tokens import make_token

REQUESTS: Final = Path(__file__).parents[1] / "data" / "two-requests.wav"
UTTERANCES: Final = 2
CUTS, ROUNDS = (3, 3) if FULL else (1, 1)  # at the same time, and one after the other
MOMENTS: Final = ((0.12, 0.2), (0.6, 0.75))  # of the recording: within either request
UNHEARD_S: Final = 0.3  # before the cut, in which what the gateway says does not come through any more
AWAY_S: Final = 3.0
PATIENCE_S: Final = 90


@dataclass
class Spoken:
    """What one client said, as the transcripts have it."""

    moment: float | None = None  # of the cut
    cut: bool = False  # the client was connected, and then it was not
    finals: list[str] = field(default_factory=list)

    @property
    def words(self) -> list[str]:
        """Of all utterances."""
        return [word for text in self.finals for word in text.split()]


@takes_long
@pytest.mark.timeout(400)
async def test_who_is_cut_off_while_it_speaks_is_understood_to_the_last_word(
    bus_settings: BusSettings, tmp_path: Path, record: Record
) -> None:
    chance = random.Random(SEED)
    recording = load_question(REQUESTS)
    redis = {"REDIS_URL": bus_settings.redis_url, "REDIS_PREFIX": bus_settings.prefix, "PARTITIONS": "4"}
    workers = WorkerPool("stt_worker", 1, tmp_path, **redis)
    try:
        workers.start()
        async with running_gateways(bus_settings.redis_url, bus_settings.prefix, 1, tmp_path) as gateways:
            await asyncio.to_thread(workers.wait_ready)
            usual, cut = Spoken(), [Spoken(chance.uniform(*chance.choice(MOMENTS))) for _ in range(ROUNDS * CUTS)]
            for first in range(0, len(cut), CUTS):
                together = cut[first : first + CUTS] + ([] if first else [usual])
                async with asyncio.TaskGroup() as tasks:
                    for spoken in together:
                        tasks.create_task(_speak(gateways.ports[0], recording, spoken))
    finally:
        workers.stop()
    assert len(usual.finals) == UTTERANCES
    record(
        Outcome(
            "clients are cut off while they speak",
            f"{len(cut)} recordings of {recording.duration_s:.1f} s with {len(usual.words)} words",
            f"one cut of {AWAY_S:.0f} s each",
            total(compared(usual.words, spoken.words) for spoken in cut),
            remarks=f"transcripts: {' / '.join(usual.finals)}",
        )
    )
    assert all(spoken.finals == usual.finals for spoken in cut)
    assert all(spoken.cut for spoken in cut)


async def _speak(port: int, recording: Question, spoken: Spoken) -> None:
    """Speaks the recording in a session of its own, until it is transcribed or the time is over."""
    async with proxy([port]) as way, Voicebus(way.url, make_token(SECRET, OWNER)) as voicebus:
        session = await voicebus.create_session()
        async with voicebus.connect(session.session_id, position=Position.BEGINNING, options=QUICK) as connection:
            try:
                async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
                    tasks.create_task(_listen(connection, spoken))
                    tasks.create_task(_say(connection, recording, spoken, way))
            except TimeoutError:
                pass  # what was not transcribed counts as lost


async def _listen(connection: Connection, spoken: Spoken) -> None:
    async for event in connection:
        if event.type == "stt" and event.data["is_final"]:
            spoken.finals.append(event.data["text"])
            if len(spoken.finals) == UTTERANCES:
                return


async def _say(connection: Connection, recording: Question, spoken: Spoken, way: Proxy) -> None:
    loop = asyncio.get_running_loop()
    frames = [*recording.frames, *[bytes(recording.frame_bytes)] * SILENT_FRAMES]
    fatal = int(len(recording.frames) * spoken.moment) if spoken.moment is not None else -1
    async with (
        asyncio.TaskGroup() as tasks,
        connection.audio_stream("pcm16", sample_rate=recording.sample_rate) as microphone,
    ):
        began = loop.time()
        for i, frame in enumerate(frames):
            await asyncio.sleep(max(0.0, began + i * FRAME_S - loop.time()))
            await microphone.write(frame)
            if i == fatal:
                tasks.create_task(_cut(way, connection, spoken))


async def _cut(way: Proxy, connection: Connection, spoken: Spoken) -> None:
    """Acknowledgements get lost, then the connection is, and for a while there is no other."""
    targets, way.targets = way.targets, []
    for pair in way.pairs:
        pair.server.transport.pause_reading()
    await asyncio.sleep(UNHEARD_S)
    was_there = connection.connected
    for pair in tuple(way.pairs):
        pair.reset()
    spoken.cut = await soon(lambda: not connection.connected) and was_there
    await asyncio.sleep(AWAY_S)
    way.targets = targets
