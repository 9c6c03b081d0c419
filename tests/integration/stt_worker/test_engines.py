"""What every recogniser must do. Each test runs with each engine."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from integration.stt_worker.hearing import SPOKEN, pieces, speech

from stt_worker.engines.choice import EngineName, make_engine
from stt_worker.engines.engine import SttEngine, Transcript

PIECE = 6_144
(QUESTION,) = SPOKEN["question"]


pytestmark = pytest.mark.asyncio(loop_scope="module")  # the engine loads its models once


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["pocketsphinx", "instant"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[SttEngine]:
    name: EngineName = request.param
    async with make_engine(name, decoders=2, instant_text=QUESTION) as opened:
        yield opened


async def recognise(engine: SttEngine, audio: bytes, *, settle_after: int = -1) -> tuple[list[str], Transcript]:
    decoding = await engine.open()
    try:
        texts = []
        for i, piece in enumerate(pieces(audio, PIECE)):
            texts.append(await decoding.feed(piece))
            if i == settle_after:
                await decoding.settle()
        return texts, await decoding.finish()
    finally:
        await decoding.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def question(engine: SttEngine) -> tuple[list[str], Transcript]:
    """What the engine makes of the question, alone."""
    return await recognise(engine, speech())


async def test_the_question_is_understood_word_for_word(question: tuple[list[str], Transcript]) -> None:
    texts, transcript = question
    assert transcript.text == QUESTION
    assert texts[-1]


async def test_confidence_and_words_lie_where_they_can(question: tuple[list[str], Transcript]) -> None:
    _, transcript = question
    assert 0 < transcript.confidence <= 1
    assert transcript.words == () or " ".join(word.text for word in transcript.words) == transcript.text
    end = 0
    for word in transcript.words:
        assert end <= word.start_ms < word.end_ms <= len(speech()) / 32
        assert 0 <= word.confidence <= 1
        end = word.end_ms


async def test_the_same_audio_gives_the_same_texts_whatever_was_decoded_before(
    engine: SttEngine, question: tuple[list[str], Transcript]
) -> None:
    await recognise(engine, speech("two-requests"))
    await recognise(engine, speech("noise"))
    assert await recognise(engine, speech()) == question


async def test_an_utterance_that_goes_on_after_a_pause_is_heard_to_its_end(
    engine: SttEngine, question: tuple[list[str], Transcript]
) -> None:
    for settle_after in (3, len(question[0]) - 1):
        assert await recognise(engine, speech(), settle_after=settle_after) == question


async def test_utterances_side_by_side_do_not_mix(engine: SttEngine, question: tuple[list[str], Transcript]) -> None:
    other = speech("two-requests")
    alone = (question, await recognise(engine, other))
    assert tuple(await asyncio.gather(recognise(engine, speech()), recognise(engine, other))) == alone


async def test_without_audio_there_is_no_text(engine: SttEngine) -> None:
    assert await recognise(engine, b"") == ([], Transcript("", 0.0))


async def test_closing_in_the_middle_leaves_the_engine_as_it_was(engine: SttEngine) -> None:
    for _ in range(5):
        decoding = await engine.open()
        await decoding.feed(speech()[:PIECE])
        await decoding.settle()
        await decoding.close()
        await decoding.close()
    assert engine.load == 0
    assert (await recognise(engine, speech()))[1].text == QUESTION
