"""Sound that the recogniser can't bear: after some attempts it is given up, and what is said next is understood.

What takes its worker along leaves a dead letter that tells of it, and can't be retried: its audio is not kept, since it
is worth nothing later. Where the recogniser fails in its own process there is an `error`, and no dead letter.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from faults.comparison import Comparison
from faults.conversation import conversation
from faults.dead_letters import command, letters
from faults.installation import Installation, installation, speaking, what_time
from faults.scenario import FULL, Outcome, Record, takes_long
from faults.spoiled import Moods
from faults.turns import Heard

from voicebus_client.connection import Connection

MOODS = ("raise", "exit", "hang", "kill") if FULL else ("kill",)
ATTEMPTS = 3
GIVEN_UP_S = 100 if FULL else 15  # a recogniser that hangs is waited for


@takes_long
@pytest.mark.timeout(400)
async def test_what_is_said_behind_poisonous_sound_is_understood(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    moods, asked, found = Moods(tmp_path / "moods.json"), what_time(), Comparison()
    environment = moods.environment | {"ATTEMPTS_MAX": str(ATTEMPTS), "STT_SESSIONS": "1"}
    async with installation(redis_url, tmp_path, environment=environment) as running:
        running.turns.patience_s = GIVEN_UP_S + 20
        usual = await running.undisturbed(asked)
        wanted = conversation(usual.events)
        started = running.pools["stt"].started
        async with running.keeping():
            for mood in MOODS:
                moods.spoil("sound", mood)

                async def say_twice(connection: Connection, heard: Heard) -> None:
                    await speaking(asked.question)(connection, heard)
                    with suppress(TimeoutError):  # one that does not come counts as lost
                        async with asyncio.timeout(GIVEN_UP_S):
                            await heard.until("error")
                    moods.mend("sound")
                    await speaking(asked.question)(connection, heard)

                heard = await running.turns.ask(say_twice)
                got, those = conversation(heard.events), Comparison()
                those.check("errors", ["stt_failed"], [error["code"] for error in got.of("error")])
                those.check("events", wanted.events, [event for event in got.events if event[0] != "error"])
                those.check("audio", [*wanted.speech.items()], [*got.speech.items()])
                those.check("effects", [asked.effect], running.effects(heard, asked))
                if mood == "kill":
                    those.check("dead letter", ["buried", "retry_impossible", "dropped"], await dropped(running, heard))
                found.add(those, mood)
        found.check("dead letters in the end", [], [*await letters(running.gateways)])
        deaths = running.pools["stt"].started - started
        # The first one may have leased the session for the stream's beginning, which was done with before the sound
        # came; a lease that is lost on a busy machine is an attempt, too.
        most, least = ATTEMPTS + 1, ATTEMPTS - running.pools["stt"].refused
        found.check("deaths", [True], [least <= deaths <= most])
    print(*found.faults, sep="\n")
    record(
        Outcome(
            "poisonous sound: the recogniser raises, exits, hangs or kills its worker",
            "a question behind each",
            f"{len(MOODS)} utterances, {deaths} workers killed by one",
            found.tally,
            remarks="an error each, and the next question answered; 1 dead letter, without its audio",
        )
    )


async def dropped(running: Installation, heard: Heard) -> list[str]:
    """What became of the session's dead letter, which can't be retried."""
    letter = (await letters(running.gateways, "stt")).get(heard.session_id)
    if letter is None:
        return []
    _, refused = await command(running.gateways, "retry", letter)
    await command(running.gateways, "drop", letter)
    left = await letters(running.gateways, "stt")
    return ["buried", *(code for code in ("retry_impossible",) if code in refused), *([] if left else ["dropped"])]
