"""`kill -9` of a worker in the middle of a turn: the client ends up with the conversation that it had anyway.

Of the STT worker in a word, of the TTS worker in a sentence, of the agent worker at any moment. `KILLS` is how many of
each, `SEED` repeats a run.
"""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from faults.boundaries import Boundary
from faults.comparison import Comparison, compare_turns, outcomes
from faults.conversation import conversation
from faults.installation import Asked, Installation, installation, speaking, what_sum, what_time
from faults.redis_way import RedisWay
from faults.scenario import FULL, SEED, Outcome, Record, takes_long
from faults.turns import Heard

from voicebus.contract.keys import STAGES, Stage

KILLS = int(os.environ.get("KILLS") or (8 if FULL else 1))
KILLED: dict[Stage, str] = {
    "stt": "the STT worker in a word",
    "agent": "the agent worker at a random moment" if KILLS > 1 else "the agent worker in a tool call",
    "tts": "the TTS worker in a sentence",
}
SPOKEN = 6  # writes of the TTS worker at least, each of which has more of a sentence


@takes_long
@pytest.mark.timeout(120 + 60 * KILLS)
async def test_a_turn_is_the_same_whoever_is_killed(redis_url: str, tmp_path: Path, record: Record) -> None:
    chance = {stage: random.Random(f"{SEED} {stage}") for stage in STAGES}
    kills = {"stt": in_a_word, "agent": in_a_turn, "tts": in_a_sentence}
    found = {stage: Comparison() for stage in STAGES}
    heard: dict[Stage, list[Heard]] = {stage: [] for stage in STAGES}
    async with installation(redis_url, tmp_path) as running:
        for asked in (what_time(), what_sum()):
            undisturbed(running, asked, await running.undisturbed(asked))
        for number in range(KILLS):
            for stage in STAGES:
                asked = (what_time(), what_sum())[(number + SEED) % 2]
                turn = await kills[stage](running, asked, chance[stage])
                heard[stage].append(turn)
                found[stage].add(await compared(running, stage, asked, turn), f"{stage} {number}, {asked.tool}")
    print(*(fault for stage in STAGES for fault in found[stage].faults), sep="\n")
    for stage in STAGES:
        record(
            Outcome(
                f"kill -9 of {KILLED[stage]}",
                "spoken questions",
                f"{KILLS} kills, {sum(turn.at_work for turn in heard[stage])} at work",
                found[stage].tally,
                max(turn.longest_wait_s for turn in heard[stage]),
                remarks(heard[stage]),
            )
        )
    assert all(turn.at_work for stage in ("stt", "tts") for turn in heard[stage])


def undisturbed(running: Installation, asked: Asked, heard: Heard) -> None:
    """The turn has all that a kill could spoil."""
    turn = conversation(heard.events)
    assert [result["outcome"] for result in turn.of("tool_result")] == ["ok"]
    assert running.effects(heard, asked) == [asked.effect]
    (response,) = turn.of("response")
    assert [token["token"] for token in turn.of("token")] == [response["content"]]
    assert len([event for event in heard.events if event.type == "token"]) > 3
    assert list(turn.speech) == list(range(response["segments"]))
    assert response["segments"] >= SPOKEN
    assert (turn.restarts, turn.repeated) == (0, 0)


async def in_a_word(running: Installation, asked: Asked, chance: random.Random) -> Heard:
    """No more than half of the word has been said when the STT worker dies; of a later one, words before are known."""
    words = asked.in_words
    later = words[len(words) // 2 :]
    at = chance.choice(words if FULL else later)

    async def kill(heard: Heard) -> None:
        if at in later:
            await heard.until("stt")
        await running.kill_owner("stt", heard)

    return await running.turns.ask(speaking(asked.question, until=at, then=kill))


async def in_a_turn(running: Installation, asked: Asked, chance: random.Random) -> Heard:
    """At some moment of the time that the agent takes in an undisturbed turn; of a single one, in its tool call."""
    span_s = (await running.undisturbed(asked)).answered_in_s

    async def kill(heard: Heard) -> None:
        await heard.until("user")
        if KILLS > 1:
            await asyncio.sleep(chance.random() * span_s)
        else:
            await heard.until("tool_call")
        await running.kill_owner("agent", heard)

    return await running.turns.ask(speaking(asked.question), kill)


async def in_a_sentence(running: Installation, asked: Asked, chance: random.Random) -> Heard:
    """A part of it is out, and the rest is not."""
    behind = not FULL or chance.random() < 0.5
    boundary = Boundary("tts", chance.randint(1, SPOKEN), behind=behind, holding=b'"is_last":false')
    struck = asyncio.Event()

    def halt(way: RedisWay) -> None:
        running.worker(way).halt()
        struck.set()

    running.watch.strike = halt

    async def kill(heard: Heard) -> None:
        await struck.wait()
        await running.kill_owner("tts", heard)

    return await running.turns.ask(
        speaking(asked.question), kill, begun=lambda session: running.watch.set(session, boundary)
    )


async def compared(running: Installation, stage: Stage, asked: Asked, heard: Heard) -> Comparison:
    """What is not as in an undisturbed turn.

    A call that may not be made twice may have an unknown outcome, if the agent was killed: then it is the turn in which
    that is sure to happen which is to be the same.
    """
    unknown = stage == "agent" and asked.tool == what_sum().tool and outcomes(heard) == {asked.tool: "unknown"}
    usual = await (running.with_unknown_outcome(asked) if unknown else running.undisturbed(asked))
    found = compare_turns(usual, heard)
    found.check("history", await running.turns.history(usual), await running.turns.history(heard))
    effects = running.effects(heard, asked)
    if effects or not unknown:
        found.check("effects", [asked.effect], effects)
    return found


def remarks(turns: list[Heard]) -> str:
    count: Counter[str] = Counter()
    for heard in turns:
        count["unknown"] += "unknown" in outcomes(heard).values()
        count["restarts"] += heard.restarts
        count["again"] += conversation(heard.events).repeated
    return (
        f"{count['restarts']} responses restarted, {count['unknown']} outcomes unknown, "
        f"{count['again']} sentences begun twice"
    )
