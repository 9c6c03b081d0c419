"""What each engine must do, on the real libraries."""

import asyncio
from array import array
from collections.abc import AsyncIterator

import pytest
from integration.tts_worker.engines import spoken

from tts_worker.engines import flite
from tts_worker.engines.choice import EngineName, make_engine
from tts_worker.engines.engine import SAMPLE_BYTES, TtsEngine, Voice

TEXT = "Hello there. What time is it in New York?"
NAMES: dict[str, EngineName] = {"espeak": "espeak", "flite": "flite", "instant": "instant"}
SAMPLE_RATES = {"espeak": 22_050, "flite": 16_000, "instant": 16_000}
needs_flite = pytest.mark.skipif(
    not flite.is_installed(), reason="flite is not installed; espeak passes the same tests"
)
VOICES = pytest.mark.parametrize("name", ["espeak", pytest.param("flite", marks=needs_flite)])


@pytest.fixture(params=["espeak", pytest.param("flite", marks=needs_flite), "instant"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[TtsEngine]:
    async with make_engine(request.param, Voice()) as opened:
        yield opened


async def test_speech_comes_in_chunks_of_60_ms_of_16_bit_samples(engine: TtsEngine) -> None:
    assert engine.codec == "pcm16"
    assert engine.sample_rate == SAMPLE_RATES[engine.name]
    *full, last = [chunk async for chunk in engine.speak(TEXT)]
    assert all(len(chunk) == engine.sample_rate * 60 // 1000 * SAMPLE_BYTES for chunk in full)
    assert len(last) % SAMPLE_BYTES == 0
    audio = array("h", b"".join([*full, last]))
    assert max(audio) > 2_000
    if engine.name != "instant":
        assert 1.5 < len(audio) / engine.sample_rate < 5


async def test_a_text_gives_the_same_bytes_again_and_beside_others_and_in_another_process(engine: TtsEngine) -> None:
    first = await spoken(engine, TEXT)
    assert await asyncio.gather(*(spoken(engine, TEXT) for _ in range(4))) == [first] * 4
    await spoken(engine, "Something else in between!")
    assert await spoken(engine, TEXT) == first
    async with make_engine(NAMES[engine.name], Voice()) as another:
        assert await spoken(another, TEXT) == first


async def test_speech_that_was_cut_off_goes_on_without_a_seam(engine: TtsEngine) -> None:
    whole = await spoken(engine, TEXT)
    samples = len(whole) // SAMPLE_BYTES
    for skip in (0, 1, 480, engine.sample_rate * 60 // 1000, samples - 1, samples, samples + 7):
        assert await spoken(engine, TEXT, skip) == whole[skip * SAMPLE_BYTES :]


@pytest.mark.parametrize("text", ["", " \n\t", "...", "?!", "🎉🎉", "\0\0", "—", "***"])
async def test_nothing_is_spoken_without_a_word(engine: TtsEngine, text: str) -> None:
    assert await spoken(engine, text) == b""


@pytest.mark.parametrize(
    "text",
    [
        "Nul\0byte",
        "-voice -o x.wav",
        "a",
        "مرحبا بالعالم",
        "你好。",
        "Привет",
        "\ud800 surrogate",
        "x" * 300,
        "%s%n%d",
        "1e308",
    ],
)
async def test_any_text_is_survived(engine: TtsEngine, text: str) -> None:
    before = await spoken(engine, TEXT)
    await spoken(engine, text)
    assert await spoken(engine, TEXT) == before


@VOICES
async def test_markup_is_not_obeyed(name: EngineName) -> None:
    async with make_engine(name, Voice()) as engine:
        audio = await spoken(engine, '<break time="9s"/> now <prosody rate="x-slow">slow</prosody>')
        assert len(audio) > len(await spoken(engine, "now slow")) * 2
        assert longest_silence_s(audio, engine.sample_rate) < 2
        phonemes = "[[h@l'oU]]"  # espeak's notation of "hello"
        assert len(await spoken(engine, phonemes)) > len(await spoken(engine, "hello")) * 1.2


def longest_silence_s(audio: bytes, sample_rate: int) -> float:
    longest = run = 0
    for sample in array("h", audio):
        run = run + 1 if abs(sample) < 50 else 0
        longest = max(longest, run)
    return longest / sample_rate


async def test_five_thousand_characters_are_spoken_to_the_end(engine: TtsEngine) -> None:
    audio = await spoken(engine, "word " * 1000)
    if engine.name != "instant":
        assert len(audio) / SAMPLE_BYTES / engine.sample_rate > 200


@VOICES
async def test_voice_speed_and_pitch_change_what_is_heard(name: EngineName) -> None:
    voices = [Voice(), Voice({"espeak": "de", "flite": "kal"}[name]), Voice(speed=1.5), Voice(pitch=1.4)]
    heard = []
    for voice in voices:
        async with make_engine(name, voice) as opened:
            heard.append(await spoken(opened, TEXT))
    assert len(set(heard)) == len(voices)
    assert len(heard[2]) < len(heard[0]) * 0.8


async def test_the_engine_is_flite_where_it_is_installed_and_espeak_elsewhere() -> None:
    assert make_engine("auto", Voice()).name == ("flite" if flite.is_installed() else "espeak")
