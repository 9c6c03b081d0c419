"""What one gets without any configuration: the rules and the toolbox."""

from integration.agent_tools.harness import toolset
from integration.agent_worker.stage import agent_of, converse

from agent_worker.models.choose import choose_model
from agent_worker.tools.config import default_servers
from voicebus.bus.bus import Bus


async def test_questions_are_answered_one_after_the_other_with_tools(bus: Bus) -> None:
    texting, speaking = await converse(bus, "text"), await converse(bus, "voice")
    async with toolset(*default_servers({})) as tools, agent_of(bus, choose_model("rules"), tools):
        for talk in (texting, speaking):
            await talk.say("what time is it in new york")
            await talk.say("please add twenty three and nineteen")
        logs = [await talk.until("response", 2) for talk in (texting, speaking)]
    for talk, events in zip((texting, speaking), logs, strict=True):
        clock, adding = [event["data"] for event in events if event["type"] == "response"]
        called = [event["data"] for event in events if event["type"] == "tool_call"]
        assert "new york" in str(called[0]["parameters"]).lower()
        assert "New York" in clock["content"]
        assert "42" in adding["content"]
        assert [data["intent"] for data in (clock, adding)] == [data["tool_name"] for data in called]
        assert all(data["confidence"] > 0 for data in (clock, adding))
        first_turn = dict.fromkeys(event["type"] for event in events if event.get("turn") == 1)
        assert list(first_turn) == ["user", "tool_call", "tool_result", "token", "response"]
        spoken = " ".join(sentence["text"] for sentence in await talk.sentences())
        assert spoken == (f"{clock['content']} {adding['content']}" if talk is speaking else "")
