"""What the tests of the client share."""

import asyncio
from collections.abc import Callable

from integration.client.scripted_gateway import ScriptedGateway

from voicebus_client.connection import Connection
from voicebus_client.events import Event
from voicebus_client.options import Options
from voicebus_client.position import Position
from voicebus_client.tokens import Tokens, TokenSource

QUICK = Options(backoff_s=0.002, backoff_max_s=0.01, open_timeout_s=3.0, first_timeout_s=10.0, close_timeout_s=0.5)


def connecting(
    gateway: ScriptedGateway,
    position: Position | None = None,
    *,
    options: Options = QUICK,
    token: TokenSource = None,
    url: str | None = None,
    base64: bool = False,
) -> Connection:
    """A client of the scripted gateway."""
    return Connection(
        url or gateway.url,
        "s",
        Tokens(token),
        position=position,
        audio="base64" if base64 else "binary",
        options=options,
    )


async def until(connection: Connection, last: Callable[[Event], bool]) -> list[Event]:
    """The events up to one that is the last."""
    events = []
    async with asyncio.timeout(20):
        async for event in connection:
            events.append(event)
            if last(event):
                return events
    raise AssertionError(f"the events ended early: {events}")


async def holds(condition: Callable[[], object]) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of the gateway's side, which has no event for each
            await asyncio.sleep(0.002)


def marks(events: list[Event]) -> list[str]:
    """Durable events by number, speech by s and number, everything else by name."""
    return [
        f"s{event.data['n']}" if event.type == "tts" else event.type if event.seq is None else str(event.seq)
        for event in events
    ]


def fill(gateway: ScriptedGateway) -> list[str]:
    """A turn with a tool call and speech; returns its marks."""
    gateway.add("user", content="what time is it", input="voice", id="m1")
    gateway.add("tool_call", tool_call_id="c", tool_name="time", parameters={"city": "New York"})
    gateway.add("tool_result", tool_call_id="c", tool_name="time", result="noon", is_error=False, outcome="ok")
    for word in ("It", " is", " noon."):
        gateway.add("token", token=word, response_id="r")
    gateway.speak(bytes(range(256)) * 2)
    gateway.speak(b"\1\2" * 300)
    gateway.add("response", content="It is noon.", response_id="r", segments=1)
    gateway.speak(b"\3\4" * 100, is_last=True)
    gateway.add("user", content="thanks", input="text", id="m2", turn=2)
    return ["1", "2", "3", "4", "5", "6", "s1", "s2", "7", "s3", "8"]
