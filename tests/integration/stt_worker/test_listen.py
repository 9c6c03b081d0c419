"""Recordings become transcripts, at the right time, whatever way their bytes come."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from itertools import pairwise

import pytest
import pytest_asyncio
from integration.stt_worker.hearing import WAV, finals, heeded, pieces, recording, server
from support.process_tree import children

from stt_worker.audio import Checkpoint
from stt_worker.engines.engine import RecognitionError
from stt_worker.engines.instant import InstantDecoding, InstantEngine
from stt_worker.engines.pocketsphinx import PocketsphinxEngine
from stt_worker.listen import Final, Heeded, Listener, Partial, Silence, SpeechHeard
from stt_worker.utterance import Endpointing
from stt_worker.vad import VadPool

SPOKEN = {
    "question": ["what time is it in new york"],
    "tokyo-8khz": ["what time is it in tokyo"],
    "good-morning-44khz-stereo": ["good morning"],
    "good-morning-48khz-float": ["good morning"],
    "two-requests": ["what time is it in paris", "please add twenty three and nineteen"],
    "noise": [],
}

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the engine loads its models once


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def engine() -> AsyncIterator[PocketsphinxEngine]:
    async with PocketsphinxEngine(decoders=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def vads() -> VadPool:
    return VadPool()


@pytest.mark.parametrize("name", SPOKEN)
async def test_a_recording_is_understood_in_any_chunks(name: str, engine: PocketsphinxEngine, vads: VadPool) -> None:
    data = recording(name)
    expected = await heeded(engine, vads, data, size=100_000)
    assert finals(expected) == SPOKEN[name]
    for size in (640, 3_333):
        assert await heeded(engine, vads, data, size=size) == expected


async def test_partial_texts_come_while_somebody_speaks(engine: PocketsphinxEngine, vads: VadPool) -> None:
    found = await heeded(engine, vads, recording("question"), size=640)
    (final,) = [heard for heard in found if isinstance(heard, Final)]
    partials = [heard for heard in found if isinstance(heard, Partial)]
    assert len({partial.text for partial in partials if partial.end_ms < final.end_ms}) >= 2
    assert [type(heard) for heard in found].index(SpeechHeard) < len(found) - 1
    assert all(a.end_ms < b.end_ms for a, b in pairwise(partials))


async def test_times_are_since_the_start_of_the_stream(engine: PocketsphinxEngine, vads: VadPool) -> None:
    found = await heeded(engine, vads, recording("two-requests"), size=9_999)
    first, second = [heard for heard in found if isinstance(heard, Final)]
    assert 200 <= first.start_ms <= 600
    assert 1_500 <= first.end_ms <= 2_300
    assert 2_900 <= second.start_ms <= 3_400
    assert 5_000 <= second.end_ms <= 5_700
    assert 0.5 < first.confidence <= 1


@pytest.mark.parametrize("name", ["two-requests", "good-morning-44khz-stereo", "tokyo-8khz"])
async def test_another_process_goes_on_from_a_checkpoint_as_if_it_had_always_listened(
    name: str, engine: PocketsphinxEngine, vads: VadPool
) -> None:
    data = recording(name)
    found = await heeded(engine, vads, data, size=5_000)
    for i, heard in enumerate(found[:-1]):
        if isinstance(heard, Final | Silence):
            start = Checkpoint.model_validate_json(heard.checkpoint.model_dump_json())
            rest = await heeded(engine, vads, data[start.needs_from :], start=start, size=4_321)
            assert rest == found[i + 1 :]


async def test_two_streams_at_once_do_not_mix(engine: PocketsphinxEngine, vads: VadPool) -> None:
    files = [recording("question"), recording("two-requests")]
    alone = [await heeded(engine, vads, data, size=640) for data in files]
    assert await asyncio.gather(*(heeded(engine, vads, data, size=640) for data in files)) == alone


class Recording(InstantEngine):
    """Keeps the audio that it is given."""

    def __init__(self) -> None:
        super().__init__("hello")
        self.audio: list[bytes] = []

    async def open(self) -> InstantDecoding:
        self.audio.append(b"")
        decoding = await super().open()
        feed = decoding.feed

        async def keep(pcm: bytes) -> str:
            self.audio[-1] += pcm
            return await feed(pcm)

        decoding.feed = keep  # type: ignore[method-assign]  # listens in
        return decoding


@pytest.mark.parametrize("stop_at", [28_000, 33_333, 50_000])
async def test_the_recogniser_hears_the_utterance_up_to_its_last_sample(vads: VadPool, stop_at: int) -> None:
    engine = Recording()
    data = recording("question")[:stop_at]
    assert finals(await heeded(engine, vads, data, size=640)) == ["hello"]
    (audio,) = engine.audio
    assert len(audio) > 6_000
    assert data[: stop_at // 2 * 2].endswith(audio)


async def test_what_is_not_understood_is_silence(vads: VadPool) -> None:
    found = await heeded(InstantEngine(""), vads, recording("question"), size=640)
    assert [type(heard) for heard in found] == [SpeechHeard, Silence]


async def test_an_utterance_lost_with_its_process_is_heard_again_from_the_checkpoint(
    engine: PocketsphinxEngine, vads: VadPool
) -> None:
    data = recording("question")
    expected = await heeded(engine, vads, data, size=640)
    with pytest.raises(RecognitionError):
        await _heed_and_kill(engine, vads, pieces(data, 640))
    assert engine.load == 0
    assert await heeded(engine, vads, data, size=640) == expected


async def _heed_and_kill(engine: PocketsphinxEngine, vads: VadPool, chunks: list[bytes]) -> list[Heeded]:
    async with vads.take() as vad:
        listener = Listener(engine.open, vad, WAV, Endpointing())
        found: list[Heeded] = []
        try:
            for chunk in chunks:
                async with aclosing(listener.feed(chunk)) as news:
                    found += [heard async for heard in news]
                if found and isinstance(found[-1], Partial):
                    for process in children(server(engine)):
                        os.kill(process, signal.SIGKILL)
        finally:
            await listener.close()
    return found
