"""The command line against a real gateway."""

import asyncio
import os
import signal
import sys
import wave
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from integration.client.real_gateway import answer, hear, running_gateway, token
from support.processes import RunningGateway

from voicebus.bus.bus import Bus
from voicebus.bus.settings import BusSettings
from voicebus_client import Voicebus, VoicebusError
from voicebus_client.wav import read_wav

PROGRAM = ("-m", "voicebus_client")
BESIDE = """
import signal, sys, threading
from voicebus_client.cli import main

def signal_here():
    sys.stdin.readline()
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=signal_here, daemon=True).start()
sys.exit(main())
"""


@dataclass(frozen=True)
class Nowhere:
    """An address."""

    url: str


async def start(
    gateway: RunningGateway | Nowhere, *arguments: str, program: tuple[str, str] = PROGRAM
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *(*program, "--url", gateway.url, *arguments),
        env=dict(os.environ) | {"VOICEBUS_TOKEN": token()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(
    process: asyncio.subprocess.Process, typed: str = "", *, within_s: float = 30
) -> tuple[int | None, list[str], str]:
    """Exit code, lines of the output, and what was written beside it."""
    async with asyncio.timeout(within_s):
        out, err = await process.communicate(typed.encode())
    return process.returncode, out.decode().splitlines(), err.decode()


async def test_a_chat_answers_every_line_and_leaves(voicebus: Voicebus, gateway: RunningGateway, bus: Bus) -> None:
    session_id = (await voicebus.create_session(mode="text")).session_id
    process = await start(gateway, "chat", "--session", session_id)
    ending = asyncio.create_task(end(process, "hello\n\nand now\n"))
    await answer(bus, session_id, ["Hi", " there."])
    await answer(bus, session_id, ["Bye."])
    assert await ending == (0, ["Hi there.", "Bye."], "")


async def test_a_chat_without_an_answer_fails(voicebus: Voicebus, gateway: RunningGateway) -> None:
    session_id = (await voicebus.create_session(mode="text")).session_id
    code, _, beside = await end(await start(gateway, "chat", "--session", session_id, "--patience", "0.2"), "hello\n")
    assert code == 1
    assert "no_answer" in beside


async def test_a_chat_sends_a_files_lines_as_fast_as_it_may(settings: BusSettings, bus: Bus) -> None:
    with running_gateway(settings, MESSAGES_PER_SESSION="2", LIMIT_PERIOD_S="2") as strict:
        async with Voicebus(strict.url, token()) as client:
            session_id = (await client.create_session(mode="text")).session_id
        process = await start(strict, "chat", "--session", session_id)
        ending = asyncio.create_task(end(process, "one\ntwo\nthree\n"))
        for word in ("un", "deux", "trois"):
            await answer(bus, session_id, [word])
        code, lines, beside = await ending
    assert code == 0
    assert [line for line in lines if "limit_near" not in line] == ["un", "deux", "trois"]
    assert "waits" in beside


async def test_a_file_whose_lines_are_never_taken_fails_in_the_end(redis_url: str) -> None:
    nobody_works = BusSettings(redis_url=redis_url, prefix=f"t{uuid4().hex[:8]}", partitions=4)
    with running_gateway(nobody_works, BUDGET_AGENT_S="0.1") as busy:
        async with Voicebus(busy.url, token()) as client:
            session_id = (await client.create_session(mode="text")).session_id
            await client.send_message(session_id, "nobody answers")

            async def ask_on() -> None:
                while True:  # until the first one is late; each in a session of its own, whose mailbox has room
                    session_id = (await client.create_session(mode="text")).session_id
                    await client.send_message(session_id, "nor this")
                    await asyncio.sleep(0.05)

            with pytest.raises(VoicebusError, match="Too much waits"):
                await asyncio.wait_for(ask_on(), 10)
        code, _, beside = await end(await start(busy, "chat", "--patience", "0.5"), "hello\n")
    assert code == 1
    first, *_, last = beside.splitlines()
    assert first.startswith("waits")
    assert "overloaded" in last


async def test_a_chat_makes_its_own_session_and_ends_it(gateway: RunningGateway) -> None:
    code, _, _ = await end(await start(gateway, "chat"), "/quit\n")
    assert code == 0
    async with Voicebus(gateway.url, token()) as client:
        newest = await anext(client.sessions())
    assert newest.status == "ended"


async def test_a_recording_is_spoken_and_the_answer_saved(
    voicebus: Voicebus, gateway: RunningGateway, bus: Bus, tmp_path: Path
) -> None:
    session_id = (await voicebus.create_session()).session_id
    question, saved = tmp_path / "question.wav", tmp_path / "answer.wav"
    audio = bytes(i % 251 for i in range(16_000))
    with wave.open(str(question), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(audio)
    process = await start(gateway, "say", str(question), "--session", session_id, "--save", str(saved))
    ending = asyncio.create_task(end(process))
    assert await hear(bus, session_id, "what time is it") == audio
    await answer(bus, session_id, ["Noon."], [b"\1\2" * 800, b"\3\4" * 800])
    code, lines, beside = await ending
    assert code == 0
    assert [line.split()[-1] for line in lines] == ["it'", "it'", "'Noon.'"]
    assert str(saved) in beside
    assert read_wav(saved).data == b"\1\2" * 800 + b"\3\4" * 800


async def test_an_answer_that_is_there_before_the_recording_ends_is_enough(
    voicebus: Voicebus, gateway: RunningGateway, bus: Bus, tmp_path: Path
) -> None:
    question = tmp_path / "question.wav"
    with wave.open(str(question), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * 16_000 * 3))
    session_id = (await voicebus.create_session()).session_id
    process = await start(gateway, "say", str(question), "--session", session_id, "--patience", "15")
    ending = asyncio.create_task(end(process))
    async with asyncio.timeout(10):
        while not await bus.calls.command("XLEN", bus.keys.of(session_id).mail("stt")):  # noqa: ASYNC110 - it speaks
            await asyncio.sleep(0.02)
    await voicebus.send_message(session_id, "what was understood so far")
    await answer(bus, session_id, ["Noon."], [b"\1\2" * 800])
    code, _, beside = await ending
    assert (code, "no_answer" in beside) == (0, False)


async def test_a_tail_shows_all_events_to_the_end_of_the_session(voicebus: Voicebus, gateway: RunningGateway) -> None:
    session_id = (await voicebus.create_session()).session_id
    await voicebus.send_message(session_id, "hello")
    process = await start(gateway, "tail", session_id, "--after", "0")
    assert process.stdout is not None
    first = [(await process.stdout.readline()).decode() for _ in range(2)]
    await voicebus.end_session(session_id)
    code, rest, beside = await end(process)
    assert code == 0
    assert [line.split()[0] for line in [*first, *rest]] == ["1", "2", "3"]
    assert "'hello'" in first[1]
    assert beside.startswith("position ")


async def test_a_tail_can_be_left_with_ctrl_c(voicebus: Voicebus, gateway: RunningGateway) -> None:
    session_id = (await voicebus.create_session()).session_id
    process = await start(gateway, "tail", session_id, "--after", "0")
    assert process.stdout is not None
    await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, beside = await end(process)
    assert code == 130
    assert "Traceback" not in beside


async def test_a_tail_can_be_left_when_ctrl_c_interrupts_no_system_call(
    voicebus: Voicebus, gateway: RunningGateway
) -> None:
    """As happens to one that comes when the program is about to wait: here another thread gets it."""
    session_id = (await voicebus.create_session()).session_id
    process = await start(gateway, "tail", session_id, "--after", "0", program=("-c", BESIDE))
    assert process.stdout is not None
    await process.stdout.readline()
    code, _, beside = await end(process, "now\n", within_s=15)  # before anything else wakes it up
    assert code == 130
    assert "Traceback" not in beside


async def long_session(voicebus: Voicebus) -> str:
    """One whose log fills every pipe."""
    session_id = (await voicebus.create_session()).session_id
    for _ in range(5):
        await voicebus.send_message(session_id, "x" * 60_000)
    return session_id


async def test_a_tail_that_is_not_read_can_be_left_with_ctrl_c(voicebus: Voicebus, gateway: RunningGateway) -> None:
    """The first is for the program, which waits for a reader; the next one breaks it off."""
    process = await start(gateway, "tail", await long_session(voicebus), "--after", "0")
    assert process.stdout is not None
    await process.stdout.readline()
    async with asyncio.timeout(30):
        while process.returncode is None:
            process.send_signal(signal.SIGINT)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await process.wait()
    code, _, _ = await end(process)
    assert code != 0


async def test_a_tail_whose_reader_goes_ends(voicebus: Voicebus, gateway: RunningGateway) -> None:
    process = await start(gateway, "tail", await long_session(voicebus), "--after", "0")
    assert process.stdout is not None
    await process.stdout.readline()
    pipe: Any = process.stdout
    pipe._transport.close()
    assert process.stderr is not None
    async with asyncio.timeout(30):
        beside = await process.stderr.read()
        assert await process.wait() == 1
    assert b"Exception" not in beside


async def test_what_cannot_be_said_or_saved_is_known_before_anything_is_said(
    voicebus: Voicebus, gateway: RunningGateway, tmp_path: Path
) -> None:
    session_id = (await voicebus.create_session()).session_id
    question = tmp_path / "question.wav"
    with wave.open(str(question), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(320_000))
    to_nowhere = ("say", str(question), "--session", session_id, "--save", str(tmp_path / "none" / "answer.wav"))
    code, _, beside = await end(await start(gateway, *to_nowhere), within_s=8)
    assert (code, "Traceback" in beside, "No such file" in beside) == (1, False, True)
    timeless = tmp_path / "timeless.wav"
    timeless.write_bytes(question.read_bytes()[:24] + bytes(4) + question.read_bytes()[28:])
    code, _, beside = await end(await start(gateway, "say", str(timeless), "--session", session_id), within_s=8)
    assert (code != 0, "Traceback" in beside, "rate of 0" in beside) == (True, False, True)


async def test_a_port_that_cannot_be_is_told_so() -> None:
    nowhere = Nowhere("http://127.0.0.1:99999")
    for command in ("sessions", "doctor"):
        code, _, beside = await end(await start(nowhere, command))
        assert code != 0
        assert "Traceback" not in beside


async def test_a_session_that_is_not_there_fails(gateway: RunningGateway) -> None:
    code, lines, beside = await end(await start(gateway, "tail", "never-was"))
    assert (code, lines) == (1, [])
    assert "session_not_found" in beside
