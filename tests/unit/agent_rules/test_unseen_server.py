"""A server that is made up in each run: `rules` calls its tools from plain sentences and asks for what is missing."""

import os
import random
import secrets

import pytest
from unit.agent_rules.conversation import Answer, Conversation
from unit.agent_rules.random_server import RandomServer

SERVERS = 12


@pytest.fixture(params=range(SERVERS))
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random, but repeatable: RULES_SEED sets the seed that a failed run printed."""
    seed = int(os.environ.get("RULES_SEED") or random.SystemRandom().getrandbits(32)) + request.param
    print(f"RULES_SEED={seed - request.param} (server {request.param})")
    return random.Random(seed)


def answering(nonce: str) -> Answer:
    return lambda _tool, _arguments: nonce


async def test_it_calls_a_tool_that_nobody_has_seen_before_and_tells_the_result(chance: random.Random) -> None:
    server = RandomServer(chance)
    for _ in range(5):
        nonce = secrets.token_hex(8)
        wish = server.wish()
        reply = await Conversation(server.tools, answering(nonce)).say(wish.sentence)
        assert reply.calls == [(wish.tool, wish.arguments)], wish.sentence
        assert nonce in reply.text
        assert reply.intent == wish.tool


async def test_it_asks_for_what_is_missing_and_understands_the_answer(chance: random.Random) -> None:
    server = RandomServer(chance)
    for _ in range(3):
        wish, missing, answer = server.unfinished_wish()
        conversation = Conversation(server.tools)
        asked = await conversation.say(wish.sentence)
        assert (asked.calls, asked.intent) == ([], "clarify"), wish.sentence
        assert missing in asked.text
        assert asked.text.endswith("?")
        told = await conversation.say(answer)
        assert told.calls == [(wish.tool, wish.arguments)], (wish.sentence, asked.text, answer)
