"""The processes behind pocketsphinx: their number, their deaths, and that nothing stays behind."""

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator

import pytest
from integration.stt_worker.hearing import SPOKEN, pieces, server, speech
from support.process_tree import alive, children, until

from stt_worker.engines.engine import EngineError, RecognitionError
from stt_worker.engines.pocketsphinx import PocketsphinxEngine
from stt_worker.engines.wire import AUDIO, SETTLE
from voicebus.chassis.forks import ForkServer
from voicebus.chassis.forkserver import message

(QUESTION,) = SPOKEN["question"]
HANGS = """
import socket, sys, time
from stt_worker.engines import forkserver

class Hanging:
    def settle(self): pass
    def feed(self, pcm): time.sleep(60)

forkserver.WORK_MAX_S = 1
forkserver.recognise(socket.socket(fileno=sys.stdin.fileno()), Hanging())
"""


@pytest.fixture
async def engine() -> AsyncIterator[PocketsphinxEngine]:
    async with PocketsphinxEngine(decoders=2) as opened:
        yield opened


async def understood(engine: PocketsphinxEngine) -> str:
    decoding = await engine.open()
    try:
        await decoding.feed(speech())
        return (await decoding.finish()).text
    finally:
        await decoding.close()


async def test_no_more_utterances_are_decoded_than_allowed(engine: PocketsphinxEngine) -> None:
    first, second = await engine.open(), await engine.open()
    assert engine.load == 1
    third = asyncio.create_task(engine.open())
    await first.feed(speech()[:6_144])
    await second.feed(speech()[:6_144])
    assert not third.done()
    assert engine.load == 1.5
    assert len(children(server(engine))) == 2
    await first.close()
    await (await third).close()
    await second.close()
    assert engine.load == 0


async def test_who_gives_up_waiting_takes_no_place(engine: PocketsphinxEngine) -> None:
    first, second = await engine.open(), await engine.open()
    third = asyncio.create_task(engine.open())
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait([third])
    assert engine.load == 1
    await first.close()
    assert await understood(engine) == QUESTION
    await second.close()


async def test_a_dead_process_takes_its_utterance_along_and_no_other(engine: PocketsphinxEngine) -> None:
    doomed = await engine.open()
    await doomed.feed(speech()[:6_144])
    (process,) = children(server(engine))
    neighbour = await engine.open()
    os.kill(process, signal.SIGKILL)
    with pytest.raises(RecognitionError) as caught:
        await doomed.feed(speech()[6_144:])
    assert caught.value.code == "stt_failed"
    await doomed.close()
    await neighbour.feed(speech())
    assert (await neighbour.finish()).text == QUESTION
    await neighbour.close()
    assert await understood(engine) == QUESTION


async def test_a_process_that_hangs_is_given_up(engine: PocketsphinxEngine) -> None:
    decoding = await engine.open()
    await decoding.feed(speech()[:6_144])
    (process,) = children(server(engine))
    os.kill(process, signal.SIGSTOP)
    assert decoding._fork is not None
    decoding._fork._patience_s = 0.2
    with pytest.raises(RecognitionError):
        await decoding.feed(speech()[6_144:])
    os.kill(process, signal.SIGCONT)
    await decoding.close()
    assert await understood(engine) == QUESTION


async def test_a_dead_server_is_started_anew_and_open_utterances_go_on(engine: PocketsphinxEngine) -> None:
    decoding = await engine.open()
    await decoding.feed(speech())
    os.kill(server(engine), signal.SIGKILL)
    await until(lambda: not alive(server(engine)))
    assert await understood(engine) == QUESTION
    assert (await decoding.finish()).text == QUESTION
    await decoding.close()


async def test_a_process_that_hangs_ends_by_itself_and_one_that_waits_does_not() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", HANGS, stdin=theirs.fileno())
        ours.sendall(message(SETTLE))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 2)
        ours.sendall(message(AUDIO, b"sound"))
        assert await asyncio.wait_for(process.wait(), 20) == -signal.SIGALRM


async def test_a_server_that_does_not_start_is_an_error_and_occupies_nothing() -> None:
    engine = PocketsphinxEngine(decoders=1)
    engine._server = ForkServer("stt_worker.engines.missing", start_timeout_s=20, patience_s=1)
    with pytest.raises(EngineError, match="doesn't start"):
        async with engine:
            pass
    for _ in range(2):
        with pytest.raises(EngineError, match="doesn't start"):
            await engine.open()
    assert engine.load == 0


async def test_nothing_stays_behind() -> None:
    async with PocketsphinxEngine(decoders=1) as engine:
        decoding = await engine.open()
        await decoding.feed(speech()[:6_144])
        processes = [server(engine), *children(server(engine))]
        await decoding.close()
        await until(lambda: not alive(processes[1]))
    assert len(processes) == 2
    assert not any(alive(process) for process in processes)


async def test_the_terminals_signals_reach_the_worker_only(engine: PocketsphinxEngine) -> None:
    decoding = await engine.open()
    await decoding.feed(speech()[:6_144])
    groups = {os.getpgid(process) for process in [server(engine), *children(server(engine))]}
    assert os.getpgid(0) not in groups
    await decoding.close()


DYING = """
import asyncio
from stt_worker.engines.pocketsphinx import PocketsphinxEngine

async def main():
    async with PocketsphinxEngine(decoders=2) as engine:
        decodings = [await engine.open(), await engine.open()]
        for decoding in decodings:
            await decoding.feed(bytes(6_144))
        print(engine._server._process.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_all_processes_end_with_a_worker_that_is_killed() -> None:
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", DYING, stdout=PIPE, stdin=DEVNULL)
    assert worker.stdout is not None
    async with asyncio.timeout(20):
        forkserver = int(await worker.stdout.readline())
    processes = [forkserver, *children(forkserver)]
    assert len(processes) == 3
    worker.kill()
    await worker.wait()
    await until(lambda: not any(alive(process) for process in processes))


async def test_decoding_leaves_the_event_loop_free(engine: PocketsphinxEngine) -> None:
    decoding = await engine.open()
    pauses, last = [], time.perf_counter()
    busy = asyncio.create_task(_decode(decoding.feed, pieces(speech() * 2, 6_144)))
    while not busy.done():
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        pauses.append(now - last)
        last = now
    await busy
    await decoding.close()
    pauses.sort()
    assert pauses[len(pauses) * 9 // 10] < 0.05


async def _decode(feed: object, audio: list[bytes]) -> None:
    assert callable(feed)
    for piece in audio:
        await feed(piece)
