"""However long a text is, reading it takes bounded work."""

from datetime import UTC, datetime

import pytest
from unit.agent_rules.conversation import Conversation
from unit.agent_rules.invented_servers import SERVERS

from agent_worker.models.rules.profile import profile_of
from agent_worker.models.rules.requests import MAX_WORDS, requests_in, too_long
from agent_worker.models.rules.routing import Route, Router

NOW = datetime(2026, 11, 20, 14, 30, tzinfo=UTC)
ALL_TOOLS = [tool for server in SERVERS.values() for tool in server]
MOST_READINGS = 7  # of each word


class CountingRouter(Router):
    """Knows how many words it had to read."""

    def __init__(self) -> None:
        super().__init__([profile_of(tool) for tool in ALL_TOOLS])
        self._read: set[str] = set()

    def route(self, text: str, now: datetime) -> Route:
        self._read.add(text)
        return super().route(text, now)

    @property
    def words(self) -> int:
        return sum(len(text.split()) for text in self._read)


@pytest.mark.parametrize(
    "repeated",
    [
        "add 2 and 3 and",
        "in paris and in london and",
        "what is the weather in paris and in rome and",
        "lock the door and open the door and",
        "what is the weather in oslo and add 2 and 3 and tell me a joke and",
        "add. lock. weather. open. and then",
    ],
)
@pytest.mark.parametrize("length", [MAX_WORDS // 4, 2 * MAX_WORDS // 5, MAX_WORDS, 2 * MAX_WORDS])
def test_the_words_of_a_text_are_read_a_fixed_number_of_times(repeated: str, length: int) -> None:
    words = (repeated.split() * length)[:length]
    router = CountingRouter()
    assert requests_in(" ".join(words), router, NOW)
    assert router.words <= MOST_READINGS * length


async def test_a_word_that_no_tool_uses_is_compared_with_few_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def likeness(_: str, meant: str) -> float:
        compared.append(meant)
        return 0.0

    monkeypatch.setattr("agent_worker.models.rules.vocabulary.likeness", likeness)
    router = CountingRouter()
    router.vocabulary.alike("xylograf")
    assert len(compared) < 10


@pytest.mark.parametrize("text", ["add 2 and 3 and " * 4000, " " * 60_000 + "?", "- " * 30_000, "x" * 64_000])
async def test_a_text_that_is_too_long_is_answered_without_being_read(text: str) -> None:
    talk = Conversation(ALL_TOOLS)
    reply = await talk.say(text)
    assert reply.text == "That was too long for me. Please say it in fewer words."
    assert (reply.calls, reply.intent, reply.confidence) == ([], "help", 0.0)
    assert (await talk.say("what is the weather in oslo")).calls == [("get_weather", {"location": "oslo"})]


async def test_a_long_message_keeps_all_its_words() -> None:
    note = " ".join(["word"] * (MAX_WORDS - 7))
    said = f"add a comment to issue seven saying {note}"
    assert not too_long(said)
    ((_, arguments),) = (await Conversation(SERVERS["bugs"]).say(said)).calls
    assert note in arguments.values()
