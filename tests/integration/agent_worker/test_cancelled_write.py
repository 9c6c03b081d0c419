"""A turn is interrupted while one of its writes is under way: the next write is no repetition of that one."""

import asyncio

from integration.agent_worker.stage import converse, take

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.contract.events import Thinking, Token
from voicebus.contract.payloads import StatusData, TokenData


async def test_a_write_after_a_cancelled_one_is_applied(bus: Bus) -> None:
    talk = await converse(bus)
    await talk.say("hello")
    lease, _ = await take(bus, talk, "w")

    def token(text: str) -> Emission:
        data = TokenData(token=text, response_id="r")
        return Emission(1, "r").event(Token(session_id=talk.session_id, turn=1, data=data))

    for number in range(20):
        writing = asyncio.create_task(lease.emit(token(f"a{number}")))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait((writing,))
        await lease.emit(token(f"b{number}"))
    thinking = Thinking(session_id=talk.session_id, data=StatusData(status="thinking"))
    await lease.emit(Emission().ephemeral(thinking))
    tokens = [event["data"]["token"] for event in await talk.events() if event["type"] == "token"]
    assert [token for token in tokens if token.startswith("b")] == [f"b{number}" for number in range(20)]
