"""A message that an engine can't bear: after some attempts it is given up, and the session goes on.

The engine raises, hangs, ends its process, or takes its worker along. A sentence that no voice can speak, and a
question that kills whoever answers it, go to the dead letters, from which they can be retried. A model that fails or is
silent is asked so often; then the question is answered by an `error`, and can be asked again.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from faults.comparison import Comparison, compare_answers
from faults.conversation import conversation
from faults.dead_letters import command, letters
from faults.model_server import SAY, Mood
from faults.scenario import FULL, Outcome, Record, takes_long
from faults.scripted import Scripted, scripted
from faults.spoiled import Moods
from faults.turns import PATIENCE_S, Heard

from voicebus.contract.keys import Stage
from voicebus_client.connection import Connection

ATTEMPTS = 3 if FULL else 2
MODELS: dict[Mood, str] = {"failing": "model_unavailable", "silent": "model_unavailable", "deadly": "agent_failed"}
VOICES = ("raise", "exit", "hang", "kill") if FULL else ("exit", "kill")
NEXT = f"{SAY}Now it is well. |Is there more?"


@dataclass
class Poisoning:
    """What is done to whom, and what was found."""

    running: Scripted
    moods: Moods  # of the voice
    found: Comparison = field(default_factory=Comparison)
    victims: dict[str, str] = field(default_factory=dict)  # sessions by their deadly question
    deaths: int = 0  # of agent workers
    retried: int = 0

    async def kill(self, question: str) -> None:
        """What a deadly question does to the worker that asks the model."""
        self.deaths += 1
        if self.deaths > 2 * ATTEMPTS:  # it is not given up
            self.running.model.moods.pop("I am deadly", None)
        pid = await self.running.turns.owner("agent", self.victims[question])
        self.running.agents.by_pid(pid).program.kill()

    async def model(self, mood: Mood) -> None:
        """The model can't bear a question."""
        question, turns = f"{SAY}I am {mood}. |It is so. |Bye.", self.running.turns
        usual, usual_next = await turns.ask(question), await turns.ask(NEXT)
        self.running.model.moods[f"I am {mood}"] = mood

        async def say(connection: Connection, heard: Heard) -> None:
            self.victims[question] = heard.session_id
            await connection.send_text(question)

        heard = await turns.ask(say)
        found = Comparison()
        found.check("errors", [MODELS[mood]], errors(heard))
        following = await turns.follow(Heard(heard.session_id, 2), NEXT)
        found.add(compare_answers(usual_next, following), "the next turn")
        self.running.model.moods.pop(f"I am {mood}", None)
        if mood == "deadly":
            again = await self.retried_turn("agent", Heard(heard.session_id, 3))
            found.add(compare_answers(usual, again), "the retried turn")
        self.found.add(found, f"the model is {mood}")

    async def voice(self, mood: str) -> None:
        """The voice can't bear the second of three sentences."""
        turns = self.running.turns
        question = f"{SAY}One is fine. |This is {mood} poison. |And so it goes on."
        usual = await turns.ask(question)
        self.moods.spoil(f"{mood} poison", mood)
        heard, found = await turns.ask(question), Comparison()
        wanted, got = conversation(usual.events), conversation(heard.events)
        found.check("errors", ["tts_failed"], errors(heard))
        found.check("attempts", [ATTEMPTS], [self.attempts("tts", self.moods.suffered(mood))])
        found.check("events", wanted.events, [event for event in got.events if event[0] != "error"])
        self.moods.mend(f"{mood} poison")
        again = conversation((await self.retried_turn("tts", heard_until_now(heard))).events)
        spoken = got.speech | again.speech  # what was heard long ago is not replayed
        found.check("audio", sorted(wanted.speech.items()), sorted(spoken.items()))
        self.found.add(found, f"the voice: {mood}")

    async def retried_turn(self, stage: Stage, heard: Heard) -> Heard:
        """What comes after `voicebus dead-letters retry`."""
        letter = (await letters(self.running.gateways, stage)).get(heard.session_id)
        self.found.check(f"{stage}: a dead letter", [True], [letter is not None])
        if letter is None:
            return heard
        self.retried += 1

        async def retry(connection: Connection, heard: Heard) -> None:
            status, output = await command(self.running.gateways, "retry", letter)
            assert status == 0, output

        return await self.running.turns.follow(heard, retry)

    def attempts(self, stage: Stage, count: int) -> int:
        """So many; a lease that is lost on a busy machine is an attempt, or makes for others."""
        lost = self.running.pools[stage].refused
        return ATTEMPTS if ATTEMPTS - lost <= count <= ATTEMPTS * (1 + lost) else count


def errors(heard: Heard) -> list[str]:
    """The codes of the turn's errors."""
    return [event.data["code"] for event in heard.events if event.type == "error" and event.turn == heard.turn]


def heard_until_now(heard: Heard) -> Heard:
    """The same turn once more: it is not over before there is speech that was not there."""
    return Heard(heard.session_id, spoken=1 + max(event.data["n"] for event in heard.events if event.type == "tts"))


@takes_long
@pytest.mark.timeout(300)
async def test_poison_is_given_up_and_comes_back_when_the_engine_is_mended(
    redis_url: str, tmp_path: Path, record: Record
) -> None:
    moods = Moods(tmp_path / "moods.json")
    environment = {
        "AGENT_SESSIONS": "1",  # so that what is deadly for one takes no other along
        "TTS_SESSIONS": "1",
        "AGENT_MODEL_ATTEMPTS": "2",
        "AGENT_FIRST_TOKEN_TIMEOUT_S": "1.5",
        "ATTEMPTS_MAX": str(ATTEMPTS),
        "LEASE_S": "2",  # one that is lost on a busy machine would count as an attempt
        **moods.environment,
    }
    async with scripted(
        redis_url, tmp_path, agents=len(MODELS), speakers=len(VOICES), environment=environment
    ) as running:
        poisoning = Poisoning(running, moods)
        running.model.kill = poisoning.kill
        running.turns.patience_s = 120 if FULL else PATIENCE_S  # a voice that hangs is waited for
        speakers = running.speakers.started
        async with asyncio.TaskGroup() as keeping:
            keepers = [keeping.create_task(pool.replace()) for pool in (running.agents, running.speakers)]
            async with asyncio.TaskGroup() as tasks:
                for mood in MODELS:
                    tasks.create_task(poisoning.model(mood))
                for how in VOICES:
                    tasks.create_task(poisoning.voice(how))
            for keeper in keepers:
                keeper.cancel()
        poisoning.found.check("dead letters in the end", [], [*await letters(running.gateways)])
        deadly: dict[Stage, int] = {"agent": poisoning.deaths, "tts": running.speakers.started - speakers}
        counted = [poisoning.attempts(stage, count) for stage, count in deadly.items()]
    poisoning.found.check("deaths", [ATTEMPTS] * 2, counted)
    print(*poisoning.found.faults, sep="\n")
    record(
        Outcome(
            "poison messages: the engine raises, hangs, exits or kills its worker",
            "a turn before and one behind each",
            f"{len(MODELS) + len(VOICES)} poison messages, {sum(deadly.values())} workers killed by them",
            poisoning.found.tally,
            remarks=f"{ATTEMPTS} attempts at each; {poisoning.retried} dead letters, retried and answered",
        )
    )
