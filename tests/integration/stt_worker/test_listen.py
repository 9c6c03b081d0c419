"""Recordings become transcripts, at the right time, whatever way their bytes come."""

import asyncio
import os
import signal
from itertools import pairwise

import pytest
from integration.stt_worker.hearing import SPOKEN, finals, recording, server, speech_events
from support.process_tree import children

from stt_worker.audio import Checkpoint
from stt_worker.engines.engine import RecognitionError
from stt_worker.engines.instant import InstantDecoding, InstantEngine
from stt_worker.engines.pocketsphinx import PocketsphinxEngine
from stt_worker.listen import Final, Partial, Silence, SpeechEvent, SpeechHeard
from stt_worker.vad import VadPool

pytestmark = pytest.mark.asyncio(loop_scope="module")  # the engine loads its models once


@pytest.fixture(scope="module")
def vads() -> VadPool:
    return VadPool()


@pytest.mark.parametrize("name", SPOKEN)
async def test_a_recording_is_understood_in_any_chunks(name: str, engine: PocketsphinxEngine, vads: VadPool) -> None:
    data = recording(name)
    expected = await speech_events(engine, vads, data, size=640)
    assert finals(expected) == SPOKEN[name]
    other = 100_000 if name == "question" else 3_333  # all at once, or pieces that cut samples apart
    assert await speech_events(engine, vads, data, size=other) == expected


async def test_partial_texts_come_while_somebody_speaks(engine: PocketsphinxEngine, vads: VadPool) -> None:
    found = await speech_events(engine, vads, recording("question"), size=640)
    (final,) = [heard for heard in found if isinstance(heard, Final)]
    partials = [heard for heard in found if isinstance(heard, Partial)]
    assert len({partial.text for partial in partials if partial.end_ms < final.end_ms}) >= 2
    assert [type(heard) for heard in found].index(SpeechHeard) < len(found) - 1
    assert all(a.end_ms < b.end_ms for a, b in pairwise(partials))


async def test_times_are_since_the_start_of_the_stream(engine: PocketsphinxEngine, vads: VadPool) -> None:
    found = await speech_events(engine, vads, recording("two-requests"), size=9_999)
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
    found = await speech_events(engine, vads, data, size=5_000)
    for i, heard in enumerate(found[:-1]):
        if isinstance(heard, Final | Silence):
            start = Checkpoint.model_validate_json(heard.checkpoint.model_dump_json())
            rest = await speech_events(engine, vads, data[start.needs_from :], start=start, size=4_321)
            assert rest == found[i + 1 :]


async def test_two_streams_at_once_do_not_mix(engine: PocketsphinxEngine, vads: VadPool) -> None:
    files = [recording("question"), recording("two-requests")]
    alone = [await speech_events(engine, vads, data, size=640) for data in files]
    assert await asyncio.gather(*(speech_events(engine, vads, data, size=640) for data in files)) == alone


class Recording(InstantEngine):
    """Keeps the audio of each utterance."""

    def __init__(self) -> None:
        super().__init__("hello")
        self.decodings: list[RecordingDecoding] = []

    async def open(self) -> InstantDecoding:
        self.decodings.append(RecordingDecoding("hello"))
        return self.decodings[-1]


class RecordingDecoding(InstantDecoding):
    audio = b""

    async def feed(self, pcm: bytes) -> str:
        self.audio += pcm
        return await super().feed(pcm)


@pytest.mark.parametrize("stop_at", [28_000, 33_333, 50_000])
async def test_the_recogniser_hears_the_utterance_up_to_its_last_sample(vads: VadPool, stop_at: int) -> None:
    engine = Recording()
    data = recording("question")[:stop_at]
    assert finals(await speech_events(engine, vads, data, size=640)) == ["hello"]
    (decoding,) = engine.decodings
    assert len(decoding.audio) > 6_000
    assert data[: stop_at // 2 * 2].endswith(decoding.audio)


async def test_what_is_not_understood_is_silence(vads: VadPool) -> None:
    found = await speech_events(InstantEngine(""), vads, recording("question"), size=640)
    assert [type(heard) for heard in found] == [SpeechHeard, Silence]


async def test_an_utterance_lost_with_its_process_is_heard_again_from_the_checkpoint(
    engine: PocketsphinxEngine, vads: VadPool
) -> None:
    data = recording("question")
    expected = await speech_events(engine, vads, data, size=640)

    def kill(heard: SpeechEvent) -> None:
        if isinstance(heard, Partial):
            for process in children(server(engine)):
                os.kill(process, signal.SIGKILL)

    with pytest.raises(RecognitionError):
        await speech_events(engine, vads, data, size=640, then=kill)
    assert engine.load == 0
    assert await speech_events(engine, vads, data, size=640) == expected
