"""Nothing goes wrong in a turn: what the scenarios of turns compare with, and what their mutants leave as it is."""

from pathlib import Path

from faults.comparison import compare_turns
from faults.conversation import conversation
from faults.installation import installation, speaking, what_time
from faults.scenario import Outcome, Record, takes_long
from faults.scripted import scripted

CALM = {"LEASE_S": "9"}


@takes_long
async def test_two_turns_are_the_same(redis_url: str, tmp_path: Path, record: Record) -> None:
    async with scripted(redis_url, tmp_path, agents=1, environment=CALM) as running:
        first, second = await running.undisturbed(), await running.undisturbed()
        found = await running.compared(first, second)
    record(
        Outcome(
            "nothing goes wrong in a turn",
            "a turn with two tool calls, spoken",
            "none",
            found.tally,
            second.longest_wait_s,
            f"{len(second.events)} events and chunks of speech",
        )
    )


@takes_long
async def test_two_spoken_turns_are_the_same(redis_url: str, tmp_path: Path, record: Record) -> None:
    asked = what_time()
    async with installation(redis_url, tmp_path, workers=1, environment=CALM) as running:
        first = await running.undisturbed(asked)
        second = await running.turns.ask(speaking(asked.question))
        found = compare_turns(first, second)
        found.check("history", await running.turns.history(first), await running.turns.history(second))
        found.check("effects", [asked.effect] * 2, running.effects(first, asked) + running.effects(second, asked))
    print(*found.faults, sep="\n")
    (said,) = conversation(first.events).of("user")
    record(
        Outcome(
            "nothing goes wrong in a spoken turn",
            "a spoken question with a tool call",
            "none",
            found.tally,
            second.longest_wait_s,
            f"understood: {said['content']}",
        )
    )
