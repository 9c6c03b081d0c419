"""Nothing goes wrong in a turn: what the scenarios of turns compare with, and what their mutants leave as it is."""

from pathlib import Path

from faults.scenario import Outcome, Record, takes_long
from faults.scripted import QUESTION, scripted


@takes_long
async def test_two_turns_are_the_same(redis_url: str, tmp_path: Path, record: Record) -> None:
    async with scripted(redis_url, tmp_path, agents=1, environment={"LEASE_S": "9"}) as running:
        first, second = await running.turns.ask(QUESTION), await running.turns.ask(QUESTION)
        found = await running.compared(first, second)
    assert [event.data["segments"] for event in first.events if event.type == "response"] == [6]
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
