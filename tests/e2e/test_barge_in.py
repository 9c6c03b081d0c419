"""Somebody cuts in, by a message or by speaking: from then on nothing of the old turn comes from the loudspeaker."""

import asyncio
import os
import random
from dataclasses import dataclass, field

import pytest
from support.processes import RunningGateway
from support.report import Show
from support.wire import Message, Wire, wire

from voicebus_client.client import Voicebus
from voicebus_stack.question import bundled_question

RUNS = int(os.environ.get("INTERRUPTIONS") or "20")
SIDE_BY_SIDE = 5
ALOUD_EACH = 4
LONG_ANSWER = "tell me ten facts about redis"
SILENCE = bytes(32_000)


def words() -> bytes:
    """A second of the bundled question from where its speech begins, as s16le samples at 16 kHz."""
    question = bundled_question()
    return b"".join(question.frames[20:70])


@dataclass
class Tally:
    """What was seen of all runs."""

    late: list[Message] = field(default_factory=list)  # of a turn that had been interrupted
    by_speech: int = 0
    spoken: int = 0  # runs in which something of the answer had been sent as speech


async def ask(client: Wire, name: str, text: str) -> int:
    """Sends a text; the turn that it opens."""
    await client.send(type="text", id=name, content=text)
    user = await client.until(lambda message: message["type"] == "user" and message["data"]["id"] == name)
    return int(user["turn"])


async def cut_in(client: Wire, dice: random.Random, name: str, *, aloud: bool) -> None:
    """Waits for a moment, reading, then cuts in."""
    first = dice.choice(("user", "token", "tts", "tts"))
    if first != "user":  # which has been seen
        await client.until(first)
    longest_s = dice.choice((0.04, 0.3))
    try:
        async with asyncio.timeout(dice.uniform(0, longest_s)):
            while True:
                await client.receive()
    except TimeoutError:
        pass
    if not aloud:
        await client.send(type="interrupt", id=f"{name}-cut")
        return
    stream = f"{name}-speech"
    await client.send(type="audio.start", id=f"{stream}-start", stream=stream, format="pcm16", sample_rate=16_000)
    await client.socket.send(words())
    await client.until("interrupted")
    await client.socket.send(SILENCE)
    await client.send(type="audio.stop", id=f"{stream}-stop", stream=stream)
    await client.until(lambda message: message["type"] == "ack" and message["data"]["id"] == f"{stream}-stop")


async def converse(gateway: RunningGateway, session_id: str, dice: random.Random, runs: range, tally: Tally) -> None:
    async with wire(gateway, session_id, "?audio=binary") as client:
        for number in runs:
            client.seen.clear()
            turn = await ask(client, f"q{number}", LONG_ANSWER)
            await cut_in(client, dice, f"q{number}", aloud=number % ALOUD_EACH == 0)
            after = await ask(client, f"n{number}", "thank you")
            await client.until(
                lambda message, turn=after: message["type"] == "response" and message["turn"] == turn  # type: ignore[misc]  # a default
            )
            await client.send(type="interrupt", id=f"n{number}-cut")  # what would still be heard of it
            await client.until("interrupted")
            note(client.seen, turn, tally)


def note(seen: list[Message], turn: int, tally: Tally) -> None:
    (at,) = [i for i, m in enumerate(seen) if m["type"] == "interrupted" and m["data"]["turn"] == turn]
    tally.late += [message for message in seen[at + 1 :] if message.get("turn") == turn]
    tally.spoken += any(m["type"] == "tts" and m["turn"] == turn for m in seen[:at])
    tally.by_speech += any(m["type"] == "audio_ack" for m in seen)


@pytest.mark.timeout(180)  # the start of the stack counts, too
async def test_nothing_of_an_interrupted_turn_is_heard_or_seen(
    gateways: list[RunningGateway], voicebus: Voicebus, show: Show
) -> None:
    seed = random.randrange(10**6)
    tally = Tally()
    async with asyncio.TaskGroup() as tasks:
        for number in range(SIDE_BY_SIDE):
            session = await voicebus.create_session()
            dice = random.Random(seed + number)
            runs = range(number, RUNS, SIDE_BY_SIDE)
            tasks.create_task(converse(gateways[number % 2], session.session_id, dice, runs, tally))
    show(
        f"seed {seed}: {RUNS} interruptions, {tally.by_speech} by speech, {tally.spoken} while something was spoken: "
        f"{len(tally.late)} events or chunks of an interrupted turn came after it"
    )
    assert tally.late == []
    assert tally.by_speech == len(range(0, RUNS, ALOUD_EACH))
    assert 0 < tally.spoken < RUNS
