"""`kill -9` of a worker at a random moment of a turn: the client ends up with the conversation that it had anyway.

`KILLS` is how many of each stage, `SEED` repeats a run.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from itertools import product, zip_longest

import pytest
from faults.conversation import conversation
from faults.installation import (
    Asked,
    Heard,
    Installation,
    Processes,
    installation,
    running_processes,
    what_sum,
    what_time,
)
from support.report import Show

from voicebus.contract.keys import STAGES, Stage

KILLS = int(os.environ.get("KILLS") or "2")
SEED = int(os.environ.get("SEED") or random.randrange(10**6))


@pytest.fixture(scope="module")
def processes(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with running_processes(redis_url, tmp_path_factory.mktemp("faults")) as running:
        yield running


async def test_an_undisturbed_turn_has_all_that_a_kill_could_spoil(processes: Processes) -> None:
    async with installation(processes) as running:
        for asked in (what_time(), what_sum()):
            heard = await running.undisturbed(asked)
            turn = conversation(heard.events)
            assert [result["outcome"] for result in turn.of("tool_result")] == ["ok"]
            assert running.effects(heard, asked) == [asked.effect]
            (response,) = turn.of("response")
            assert [token["token"] for token in turn.of("token")] == [response["content"]]
            assert len([event for event in heard.events if event.type == "token"]) > 3
            assert list(turn.speech) == list(range(response["segments"]))
            assert response["segments"] > 5
            assert (turn.restarts, turn.repeated) == (0, 0)


@pytest.mark.timeout(120 + 60 * KILLS)
async def test_a_turn_is_the_same_whoever_is_killed(processes: Processes, show: Show) -> None:
    moments = {stage: random.Random(f"{SEED} {stage}") for stage in STAGES}
    counts: dict[Stage, Counter[str]] = {stage: Counter() for stage in STAGES}
    faults: list[str] = []
    async with installation(processes) as running:
        for number, stage in product(range(KILLS), STAGES):  # one after the other, so that each has time to come back
            asked = (what_time(), what_sum())[number % 2]
            fraction = moments[stage].random()
            heard = await running.with_a_kill(asked, stage, fraction, replaced=number + 1 < KILLS)
            found = await differences(running, asked, heard, counts[stage], may_be_unknown=stage == "agent")
            faults += [f"{stage} {number} at {fraction:.3f}, {asked.tool}: {fault}" for fault in found]
            counts[stage]["at work"] += heard.at_work
    show(f"seed {SEED}")
    for stage, count in counts.items():
        audio = "equal" if count["audio"] == KILLS else f"equal in {count['audio']}"
        show(
            f"{stage}: {KILLS} kills, {count['equal']} turns equal, tool effects {count['effects']}/{KILLS}, "
            f"audio bytes {audio} ({count['at work']} killed at work, {count['restarts']} responses restarted, "
            f"{count['unknown']} outcomes unknown, {count['repeated']} sentences begun twice)"
        )
    assert not faults, "\n".join(faults)


async def differences(
    running: Installation, asked: Asked, heard: Heard, count: Counter[str], *, may_be_unknown: bool
) -> list[str]:
    """What is not as in an undisturbed turn; counts what is.

    A call that may not be made twice may have an unknown outcome, if the agent was killed: then it is the turn in which
    that is sure to happen which is to be the same.
    """
    got = conversation(heard.events)
    outcomes = [result["outcome"] for result in got.of("tool_result")]
    unknown = may_be_unknown and outcomes == ["unknown"] and asked.tool == what_sum().tool
    usual = await (running.with_unknown_outcome(asked) if unknown else running.undisturbed(asked))
    wanted = conversation(usual.events)
    effects = running.effects(heard, asked)
    possible = [[], [asked.effect]] if unknown else [[asked.effect]]
    checks = {
        "equal": (got.events, wanted.events),
        "history": (await running.history(heard), await running.history(usual)),
        "audio": (got.speech, wanted.speech),
        "numbers": (numbers(heard), list(range(1, len(numbers(heard)) + 1))),
        "late": (got.late, 0),
    }
    found = [f"{name}: {difference(a, b)}" for name, (a, b) in checks.items() if a != b]
    if effects not in possible:
        found.append(f"effects: {effects}")
    count["effects"] += effects in possible
    for name, (a, b) in checks.items():
        count[name] += a == b
    count["unknown"] += unknown
    count["restarts"] += got.restarts
    count["repeated"] += got.repeated
    return found


def difference(got: object, wanted: object) -> str:
    """Where two lists or dictionaries part, with audio told by its length."""
    if isinstance(got, dict) and isinstance(wanted, dict):
        parts = [(key, got.get(key), wanted.get(key)) for key in sorted(got.keys() | wanted.keys())]
    elif isinstance(got, list) and isinstance(wanted, list):
        parts = [(i, *pair) for i, pair in enumerate(zip_longest(got, wanted))]
    else:
        parts = [("", got, wanted)]
    return next(f"{key}: {shown(a)} instead of {shown(b)}" for key, a, b in parts if a != b)


def shown(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else f"{value!r:.400}"


def numbers(heard: Heard) -> list[int]:
    """Of the durable events."""
    return [event.seq for event in heard.events if event.seq is not None]
