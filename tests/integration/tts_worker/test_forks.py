"""Engines that speak through forked processes: streaming, cancellation, crashes, and that nothing stays behind."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import wave
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.tts_worker.engines import LONG_TEXT, forks, server, spoken
from support.process_tree import alive, children, until

from tts_worker.engines import flite
from tts_worker.engines.choice import make_engine
from tts_worker.engines.engine import EngineError, SynthesisError, Voice
from tts_worker.engines.forked import ForkedEngine

NAMES = [
    "espeak",
    pytest.param(
        "flite",
        marks=pytest.mark.skipif(
            not flite.is_installed(), reason="flite isn't installed; espeak passes the same tests"
        ),
    ),
]


@pytest.fixture(params=NAMES)
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[ForkedEngine]:
    async with ForkedEngine(request.param, max_syntheses=2) as opened:
        yield opened


async def test_the_first_chunk_comes_while_the_rest_is_synthesised(engine: ForkedEngine) -> None:
    async with contextlib.aclosing(engine.speak(LONG_TEXT)) as chunks:
        await anext(chunks)
        assert len(forks(engine)) == 1
        rest = sum([len(chunk) async for chunk in chunks])
    assert rest > 100 * engine.sample_rate  # fifty seconds: more than any buffer on the way holds


async def test_a_slow_reader_holds_the_synthesis_up_and_loses_nothing(engine: ForkedEngine) -> None:
    whole = await spoken(engine, LONG_TEXT)
    async with contextlib.aclosing(engine.speak(LONG_TEXT)) as chunks:
        read = await anext(chunks)
        assert await spoken(engine, "Someone else.") != b""
        await until(lambda: len(forks(engine)) == 1)
        read += b"".join([chunk async for chunk in chunks])
    assert read == whole


async def test_closing_ends_the_synthesis_and_its_process_at_once(engine: ForkedEngine) -> None:
    chunks = engine.speak(LONG_TEXT)
    await anext(chunks)
    (fork,) = forks(engine)
    await chunks.aclose()
    await until(lambda: not alive(fork), timeout_s=0.5)
    assert forks(engine) == []


async def test_cancelling_the_reader_ends_the_process_even_before_the_first_chunk(engine: ForkedEngine) -> None:
    reader = asyncio.create_task(spoken(engine, LONG_TEXT * 6))  # flite computes for seconds before it speaks
    await until(lambda: forks(engine) != [])
    reader.cancel()
    async with asyncio.timeout(0.5):
        await asyncio.wait([reader])
    assert reader.cancelled()
    await until(lambda: forks(engine) == [], timeout_s=0.5)


async def test_no_process_is_left_after_a_text_was_spoken(engine: ForkedEngine) -> None:
    await spoken(engine, "Hello there.")
    await until(lambda: forks(engine) == [], timeout_s=0.5)


async def test_no_more_texts_are_synthesised_at_once_than_configured(engine: ForkedEngine) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, second, third = [
            await stack.enter_async_context(contextlib.aclosing(engine.speak(LONG_TEXT))) for _ in range(3)
        ]
        await anext(first)
        await anext(second)
        waiting = asyncio.ensure_future(anext(third))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        assert len(forks(engine)) == 2
        await first.aclose()
        assert await waiting
        await until(lambda: len(forks(engine)) == 2)


async def test_a_crash_ends_one_text_only(engine: ForkedEngine) -> None:
    async with (
        contextlib.aclosing(engine.speak(LONG_TEXT)) as other,
        contextlib.aclosing(engine.speak(LONG_TEXT)) as chunks,
    ):
        read = await anext(other)
        (neighbour,) = forks(engine)
        await anext(chunks)
        (fork,) = set(forks(engine)) - {neighbour}
        os.kill(fork, signal.SIGSEGV)
        with pytest.raises(SynthesisError, match="crashed"):
            await drain(chunks)
        read += b"".join([chunk async for chunk in other])
    assert read == await spoken(engine, LONG_TEXT)


async def drain(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


async def test_a_text_that_makes_no_progress_is_given_up(engine: ForkedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voicebus.chassis.forks.EXIT_TIMEOUT_S", 0.2)
    engine._server._patience_s = 3.0  # time enough for the first audio on a busy machine
    async with contextlib.aclosing(engine.speak(LONG_TEXT)) as chunks:
        await anext(chunks)
        (fork,) = forks(engine)
        os.kill(fork, signal.SIGSTOP)
        with pytest.raises(SynthesisError, match="hangs"):
            await drain(chunks)
    os.kill(fork, signal.SIGCONT)
    await until(lambda: not alive(fork))


async def test_the_server_is_started_anew_when_it_died(engine: ForkedEngine) -> None:
    before = await spoken(engine, "Hello there.")
    first = server(engine)
    os.kill(first, signal.SIGKILL)
    await until(lambda: not alive(first))
    assert await spoken(engine, "Hello there.") == before
    assert server(engine) != first


async def test_an_engine_whose_server_can_not_be_started_anew_is_unusable(engine: ForkedEngine) -> None:
    engine._server._command[-1] = json.dumps({"name": "nobody"})
    os.kill(server(engine), signal.SIGKILL)
    await until(lambda: not alive(server(engine)))
    with pytest.raises(EngineError, match="no voice 'nobody'") as caught:
        await spoken(engine, "Hello there.")
    assert not isinstance(caught.value, SynthesisError)


async def test_leaving_the_engine_ends_its_server_and_all_that_is_spoken() -> None:
    engine = ForkedEngine("espeak")
    async with engine:
        process = server(engine)
        async with contextlib.aclosing(engine.speak(LONG_TEXT)) as chunks:
            await anext(chunks)
            (fork,) = forks(engine)
    assert not alive(process)
    await until(lambda: not alive(fork), timeout_s=0.5)


SPEAKS = """
import asyncio, sys
from tts_worker.engines.forked import ForkedEngine

async def main():
    async with ForkedEngine(sys.argv[1]) as engine:
        async for _ in engine.speak(sys.argv[2]):
            print("speaking", flush=True)
            await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("name", NAMES)
async def test_nothing_stays_behind_when_the_worker_is_killed(name: str) -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", SPEAKS, name, LONG_TEXT, stdout=PIPE)
    assert worker.stdout
    await worker.stdout.readline()
    (forkserver,) = children(worker.pid)
    (fork,) = children(forkserver)
    worker.kill()
    await worker.wait()
    await until(lambda: not alive(fork) and not alive(forkserver))


async def test_a_voice_that_does_not_exist_is_an_error_with_its_name() -> None:
    for name in ("espeak", "flite") if flite.is_installed() else ("espeak",):
        with pytest.raises(EngineError, match='no voice "nobody\'s"'):
            async with ForkedEngine(name, Voice("nobody's")):
                pass


@pytest.mark.skipif(not shutil.which("flite"), reason="compares with flite's own program")
async def test_flite_sounds_as_its_own_program_does(tmp_path: Path) -> None:
    text, file = "What time is it in New York?", tmp_path / "flite.wav"
    program = await asyncio.create_subprocess_exec(
        "flite", "-voice", "slt", "-t", text, "-o", file, stdin=DEVNULL, stdout=DEVNULL
    )
    assert await program.wait() == 0
    with wave.open(str(file)) as recording:
        expected = recording.readframes(recording.getnframes())
    async with make_engine("flite", Voice()) as engine:
        assert await spoken(engine, text) == expected
