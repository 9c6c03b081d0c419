"""Commands that look after an installation, and what a person at a terminal sees, against a real gateway."""

import asyncio
import os
import pty
import signal
import sys
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
from integration.client.real_gateway import SECRET, answer, hear, running_gateway, token
from jose import jwt
from support.burials import bury_question
from support.processes import RunningGateway
from support.sessions import events_of

from voicebus.bus.bus import Bus, open_bus
from voicebus.bus.presence import WorkerState
from voicebus.bus.settings import BusSettings
from voicebus.contract.events import User
from voicebus.contract.keys import STAGES
from voicebus_client import Voicebus
from voicebus_client.cli.doctor import examine
from voicebus_client.cli.findings import Finding, Mark
from voicebus_client.cli.settings import Settings
from voicebus_client.wav import read_wav

PLAYER = """#!{python}
import pathlib, sys
pathlib.Path({played!r}).write_bytes(pathlib.Path(sys.argv[-1]).read_bytes())
"""


async def start(
    *arguments: str, url: str = "", stdout: int = asyncio.subprocess.PIPE, environment: Mapping[str, str] = {}
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voicebus_client", *(("--url", url) if url else ()), *arguments),
        env={**os.environ, "VOICEBUS_TOKEN": token(), **environment},
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(*arguments: str, url: str = "", **environment: str) -> tuple[int | None, str, str]:
    """Exit code, output, and what was written beside it."""
    process = await start(*arguments, url=url, environment=environment)
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def admin_token() -> str:
    claims = {"sub": "root", "aud": "voicebus", "iss": "voicebus", "exp": time.time() + 600, "scope": "admin"}
    return str(jwt.encode(claims, SECRET, algorithm="HS256"))


async def test_a_minted_token_is_taken_by_the_gateway_and_allows_what_it_says(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    code, out, _ = await run("token", "--sub", "grace", "--lasts", "90s", JWT_SECRET=SECRET)
    assert code == 0
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"], audience="voicebus", issuer="voicebus")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == ("grace", 90)
    async with Voicebus(gateway.url, out.strip()) as grace:
        assert (await grace.create_session(mode="text")).owner == "grace"
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    reader = (await run("token", "--secret-file", str(secret), "--scope", "sessions:read"))[1].strip()
    code, _, beside = await run("chat", url=gateway.url, VOICEBUS_TOKEN=reader)
    assert code == 1
    assert "scope_missing" in beside


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["token"], 1, "JWT_SECRET"),
        (["token", "--secret-file", "not-there"], 1, "not-there"),
        (["token", "--lasts", "0s"], 2, "--lasts"),
        (["token", "--lasts", "soon"], 2, "--lasts"),
        (["token", "--scope", "everything"], 2, "--scope"),
    ],
    ids=str,
)
async def test_a_token_that_cannot_be_made_says_why(arguments: list[str], code: int, said: str) -> None:
    left, out, beside = await run(*arguments, JWT_SECRET="")
    assert (left, out) == (code, "")
    assert said in beside


async def test_sessions_are_listed_page_by_page(gateway: RunningGateway) -> None:
    lister = token("lister")
    async with Voicebus(gateway.url, lister) as client:
        made = [(await client.create_session(mode="text")).session_id for _ in range(3)][::-1]
    code, out, beside = await run("sessions", "--limit", "2", url=gateway.url, VOICEBUS_TOKEN=lister)
    header, *rows = out.splitlines()
    assert code == 0
    assert header.split() == ["SESSION", "STATUS", "MODE", "AGENT", "TURNS", "CREATED"]
    assert [row.split()[:3] for row in rows] == [[session_id, "open", "text"] for session_id in made[:2]]
    cursor = beside.split()[-1]
    code, out, beside = await run("sessions", "--json", "--cursor", cursor, url=gateway.url, VOICEBUS_TOKEN=lister)
    assert (code, beside) == (0, "")
    assert [orjson.loads(line)["session_id"] for line in out.splitlines()] == made[2:]


async def test_a_tail_in_json_is_one_event_a_line(voicebus: Voicebus, gateway: RunningGateway) -> None:
    session_id = (await voicebus.create_session()).session_id
    await voicebus.send_message(session_id, "hello \x1b[31m")
    await voicebus.end_session(session_id)
    code, out, _ = await run("tail", session_id, "--after", "0", "--json", url=gateway.url)
    events = [orjson.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [(event["seq"], event["type"]) for event in events] == [
        (1, "session_start"),
        (2, "user"),
        (3, "session_end"),
    ]
    assert events[1]["data"]["content"] == "hello \x1b[31m"


async def test_what_others_say_cannot_steer_the_terminal(voicebus: Voicebus, gateway: RunningGateway, bus: Bus) -> None:
    session_id = (await voicebus.create_session(mode="text")).session_id
    process = await start("chat", "--session", session_id, url=gateway.url)
    assert process.stdin is not None
    process.stdin.write(b"hello\n")
    process.stdin.close()
    await answer(
        bus,
        session_id,
        ["\x1b]0;owned\x07", "caf\u00e9 \ud83d\udc4d".encode("utf-16", "surrogatepass").decode("utf-16")],
    )
    async with asyncio.timeout(30):
        out = (await process.communicate())[0].decode()
    assert out == "\\x1b]0;owned\\x07caf\u00e9 \U0001f44d\n"


async def test_ctrl_c_interrupts_the_answer_and_a_second_one_leaves(
    voicebus: Voicebus, gateway: RunningGateway, bus: Bus
) -> None:
    session_id = (await voicebus.create_session(mode="text")).session_id
    process = await start("chat", "--session", session_id, url=gateway.url)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hello\n")
    async with asyncio.timeout(30):
        while not any(isinstance(event, User) for event in await events_of(bus, session_id)):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        process.send_signal(signal.SIGINT)
        shown = await process.stdout.readline()
        assert shown.decode().split() == ["!", "interrupted:", "turn", "1"]
        process.send_signal(signal.SIGINT)
        _, beside = await process.communicate()
    assert process.returncode == 130
    assert b"Traceback" not in beside


async def test_dead_letters_are_listed_shown_retried_and_dropped(gateway: RunningGateway, bus: Bus) -> None:
    retried, dropped = await bury_question(bus, "what is love"), await bury_question(bus)
    as_admin: dict[str, Any] = {"url": gateway.url, "VOICEBUS_TOKEN": admin_token()}
    code, out, _ = await run("dead-letters", "list", "--stage", "agent", "--json", **as_admin)
    letters = {letter["session_id"]: letter for letter in map(orjson.loads, out.splitlines())}
    assert code == 0
    first, second = letters[retried]["id"], letters[dropped]["id"]
    code, out, _ = await run("dead-letters", "list", **as_admin)
    row = next(line for line in out.splitlines() if line.startswith(first))
    assert row.split()[3:6] == [retried, "1", "agent_failed:"]
    code, out, _ = await run("dead-letters", "show", first, **as_admin)
    assert orjson.loads(out)["mail"]["content"] == "what is love"
    code, out, beside = await run("dead-letters", "retry", first, first, **as_admin)
    assert (code, out.splitlines()) == (
        1,
        [f"{first}: is worked at again, in turn 2", f"{first}: dead_letter_not_found"],
    )
    assert "dead_letter_not_found" in beside
    assert [event.turn for event in await events_of(bus, retried) if isinstance(event, User)] == [1, 2]
    assert (await run("dead-letters", "drop", second, **as_admin))[:2] == (0, f"{second}: dropped\n")
    code, _, beside = await run("dead-letters", "show", second, **as_admin)
    assert code == 1
    assert "dead_letter_not_found" in beside


async def test_dead_letters_are_for_administrators(gateway: RunningGateway) -> None:
    code, out, beside = await run("dead-letters", "list", url=gateway.url)
    assert (code, out) == (1, "")
    assert "scope_missing" in beside


async def test_a_person_sees_the_bar_and_hears_the_answer(
    voicebus: Voicebus, gateway: RunningGateway, bus: Bus, tmp_path: Path
) -> None:
    session_id = (await voicebus.create_session()).session_id
    question, played = tmp_path / "question.wav", tmp_path / "played.wav"
    with wave.open(str(question), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(16_000))
    player = tmp_path / "paplay"
    player.write_text(PLAYER.format(python=sys.executable, played=str(played)))
    player.chmod(0o755)
    ours, theirs = pty.openpty()
    process = await start(
        *("say", str(question), "--session", session_id),
        url=gateway.url,
        stdout=theirs,
        environment={"PATH": f"{tmp_path}:{os.environ['PATH']}", "TERM": "xterm"},
    )
    os.close(theirs)
    screen = asyncio.create_task(asyncio.to_thread(read_to_the_end, ours))
    await hear(bus, session_id, "what time is it")
    await answer(bus, session_id, ["Noon."], [b"\1\2" * 800, b"\3\4" * 800])
    async with asyncio.timeout(30):
        assert await process.wait() == 0
        shown = (await screen).decode()
    assert "0.5 s" in shown
    assert "what time is it" in shown
    assert "Noon." in shown
    assert read_wav(played).data == b"\1\2" * 800 + b"\3\4" * 800


def read_to_the_end(terminal: int) -> bytes:
    shown = b""
    try:
        while piece := os.read(terminal, 65_536):
            shown += piece
    except OSError:  # nobody writes there any more
        pass
    os.close(terminal)
    return shown


async def findings(url: str, jwt_: str | None = None) -> dict[str, Finding]:
    return {found.name: found async for found in examine(Settings(url, jwt_))}


@pytest.fixture(scope="module")
def alone(redis_url: str) -> Iterator[tuple[RunningGateway, BusSettings]]:
    """An installation of its own, in which nothing waits."""
    settings = BusSettings(redis_url=redis_url, prefix=f"t{uuid4().hex[:8]}", partitions=4)
    with running_gateway(settings) as gateway:
        yield gateway, settings


@asynccontextmanager
async def workers(settings: BusSettings) -> AsyncIterator[None]:
    """One of each stage, as far as the gateway can tell."""
    states = [
        WorkerState(
            name=f"{stage}-1",
            stage=stage,
            version="0.1.0",
            status="ready",
            capacity=8,
            held=0,
            started_at=datetime.now(UTC),
            details={"engine": "imagined"},
        )
        for stage in STAGES
    ]
    async with open_bus(settings) as bus:
        for state in states:
            await bus.presence.announce(state)
        yield
        for state in states:
            await bus.presence.leave(state.name)


async def test_the_doctor_finds_nothing_wrong_where_nothing_is(alone: tuple[RunningGateway, BusSettings]) -> None:
    gateway, settings = alone
    async with workers(settings):
        await until_found(gateway, "agent", "good")
        code, out, _ = await run("doctor", url=gateway.url, VOICEBUS_TOKEN=token(lasts_s=3_600))
    marks = [line.split()[0] for line in out.splitlines()]
    assert (code, set(marks)) == (0, {"✓"})
    names = {line.split()[1] for line in out.splitlines()}
    assert {"gateway", "version", "clock", "redis", *STAGES, "token", "websocket"} <= names
    assert "engine imagined" in out


async def test_the_doctor_misses_workers(alone: tuple[RunningGateway, BusSettings]) -> None:
    gateway, _ = alone
    found = await until_found(gateway, "agent", "wrong")
    assert "no agent worker" in found.text
    code, out, _ = await run("doctor", url=gateway.url)
    assert code == 1
    assert "✗ agent" in out


async def until_found(gateway: RunningGateway, name: str, mark: Mark) -> Finding:
    """The gateway looks at its workers now and then."""
    async with asyncio.timeout(30):
        while True:
            found = (await findings(gateway.url, token())).get(name)
            if found is not None and found.mark == mark:
                return found
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("jwt_", "said"),
    [
        (lambda: None, "token_missing"),
        (lambda: "x" * 20, "token_invalid"),
        (lambda: token(lasts_s=-60), "token_expired"),
        (admin_token, "scope_missing"),
    ],
)
async def test_the_doctor_knows_what_is_wrong_with_a_token(
    gateway: RunningGateway, jwt_: Callable[[], str | None], said: str
) -> None:
    found = await findings(gateway.url, jwt_())
    assert found["token"].mark == "wrong"
    assert said in found["token"].text
    assert "voicebus token" in found["token"].advice or "JWT_SECRET" in found["token"].advice
    assert "websocket" not in found


async def test_the_doctor_warns_of_a_token_that_expires_soon(gateway: RunningGateway) -> None:
    found = await findings(gateway.url, token(lasts_s=300))
    assert found["token"].mark == "good"
    assert (found[""].mark, found[""].text.endswith("in 0 h 05 min")) == ("warning", True)
