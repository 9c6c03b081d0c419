"""A session's log over REST: pages of JSON, and server-sent events that go on wherever they were cut."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from integration.gateway.here import gateway_here
from integration.gateway.streams import EventSource, event_source
from support.processes import SECRET, RunningGateway, bearer_of, gateway_process
from support.report import Show
from support.sessions import open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract import events, payloads
from voicebus_stack.tokens import make_token

SIZE = 8_000  # bytes of an event


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice"), timeout=20) as client:
        yield client


async def answering(bus: Bus, session_id: str) -> Lease:
    """What the agent holds that answers the session."""
    lease = await bus.stages("agent", "w").lease(session_id)
    assert lease is not None
    return lease


async def write(lease: Lease, session_id: str, count: int = 1, *, text: str = "x") -> None:
    """So many events, with an ephemeral one and a chunk of speech behind them."""
    emission = Emission(1, "r")
    for _ in range(count):
        token = payloads.TokenData(token=text, response_id="r")
        emission.event(events.Token(session_id=session_id, turn=1, data=token))
    thinking = payloads.StatusData(status="thinking")
    emission.ephemeral(events.Thinking(session_id=session_id, turn=1, data=thinking))
    speech = events.Envelope(session_id=session_id, turn=1)
    await lease.emit(emission.speech(speech, bytes(640), segment=0, sample_rate=16_000, is_last=False))


def seqs(stream: EventSource) -> list[int]:
    return [message["seq"] for message in stream.seen if "seq" in message]


async def test_the_log_comes_in_pages(http: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, "hello")
    await write(await answering(gateway_bus, session_id), session_id, 8)
    found, sizes, query = list[Any](), list[int](), "after=0"
    while True:
        page = (await http.get(f"/ai/sessions/{session_id}/events?limit=4&{query}")).json()
        assert page["gaps"] == []
        found += page["events"]
        sizes.append(len(page["events"]))
        if page["position"] == page["head"]:
            break
        query = f"after={page['position']['seq']}&epoch={page['position']['epoch']}"
    assert sizes == [4, 4, 2]
    assert [event["seq"] for event in found] == list(range(1, 11))
    assert [event["type"] for event in found] == ["session_start", "user", *["token"] * 8]
    whole = (await http.get(f"/ai/sessions/{session_id}/events")).json()
    assert whole["events"] == found


GAPS = {
    "ahead": ("?after=99", {"stream": "events", "from": 11, "to": 99, "reason": "ahead"}, 11),
    "epoch_changed": ("?epoch=dead&after=7", {"stream": "events", "from": 1, "to": 7, "reason": "epoch_changed"}, 6),
    "trimmed": ("?after=1", {"stream": "events", "from": 2, "to": 5, "reason": "trimmed"}, 6),
}


@pytest.mark.parametrize("reason", GAPS)
async def test_what_can_not_be_given_is_told(
    gateway: RunningGateway, http: httpx2.AsyncClient, gateway_bus: Bus, reason: str
) -> None:
    query, gap, first = GAPS[reason]
    session_id = await open_session(gateway_bus, "hello")
    lease = await answering(gateway_bus, session_id)
    await write(lease, session_id, 8)
    await gateway_bus.calls.command("XTRIM", gateway_bus.keys.of(session_id).log, "MINID", "6-0")
    page = (await http.get(f"/ai/sessions/{session_id}/events{query}")).json()
    assert gap in page["gaps"]
    assert [event["seq"] for event in page["events"]] == list(range(first, 11))

    async with event_source(gateway, session_id, query) as stream:
        await stream.until("state_snapshot")
        assert gap in [message["data"] for message in stream.seen[:-1]]
        assert stream.ids == [""] * (len(stream.seen) - 1) + [f"{page['head']['epoch']}:{first - 1}"]
        assert stream.seen[-1]["data"]["state"]["session_id"] == session_id
        await write(lease, session_id)
        await stream.until("thinking")
    assert seqs(stream) == list(range(first, 12))


async def test_a_stream_goes_on_live_without_speech(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, "hello")
    lease = await answering(gateway_bus, session_id)
    async with event_source(gateway, session_id, "?after=0") as replayed, event_source(gateway, session_id) as live:
        assert live.answer.headers["Content-Type"].startswith("text/event-stream")
        await live.joined()
        await replayed.until("user")
        for _ in range(3):
            await write(lease, session_id, 2)
            for stream in (replayed, live):
                await stream.until("thinking")
    epoch = live.last_id.partition(":")[0]
    assert [message["type"] for message in live.seen] == ["token", "token", "thinking"] * 3
    assert live.ids == [f"{epoch}:{seq}" if seq else "" for seq in (3, 4, 0, 5, 6, 0, 7, 8, 0)]
    assert seqs(replayed) == list(range(1, 9))


async def test_a_cut_stream_goes_on_at_another_gateway(
    gateway: RunningGateway, other_gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus, "hello")
    lease = await answering(gateway_bus, session_id)
    got, last_id = list[int](), ""
    for cut in range(12):
        here = (gateway, other_gateway)[cut % 2]
        async with event_source(here, session_id, "" if last_id else "?after=0", last_id=last_id) as stream:
            await stream.joined()
            await write(lease, session_id, 3)
            for _ in range(1 + cut % 4):
                await stream.receive()
            got += seqs(stream)
            last_id = stream.last_id
        await write(lease, session_id, 2)
    assert got == list(range(1, got[-1] + 1))
    assert len(got) > 12


async def test_who_was_cut_off_before_anything_happened_misses_nothing(
    gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus, "hello")
    async with event_source(gateway, session_id) as stream:
        await stream.joined()
    await write(await answering(gateway_bus, session_id), session_id)
    async with event_source(gateway, session_id, last_id=stream.last_id) as again:
        assert (await again.until("token"))["seq"] == 3
    assert seqs(again) == [3]


async def test_the_stream_ends_with_the_session_and_tells_browsers_to_stay_away(
    gateway: RunningGateway, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus, "hello")
    async with event_source(gateway, session_id, "?after=0") as stream:
        await stream.until("user")
        await gateway_bus.sessions.end(session_id, "deleted")
        assert [message["type"] for message in await stream.rest()] == ["session_end"]
    async with event_source(gateway, session_id, last_id=stream.last_id) as again:
        assert (again.answer.status_code, await again.rest()) == (204, [])
    async with event_source(gateway, session_id, "?after=1") as behind:
        assert [message["type"] for message in await behind.rest()] == ["user", "session_end"]
    async with event_source(gateway, session_id, "?after=99") as ahead:
        assert [message["type"] for message in await ahead.rest()] == ["gap", "state_snapshot"]
    async with event_source(gateway, session_id, last_id=ahead.last_id) as again:
        assert again.answer.status_code == 204


async def test_a_silent_stream_is_kept_alive(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, "hello")
    async with (
        gateway_here(redis_url, ping_interval_s=0.05) as gateway,
        event_source(gateway, session_id) as stream,
    ):
        for _ in range(3):
            await stream.comment()
        await gateway_bus.sessions.end(session_id, "deleted")
        assert [message["type"] for message in await stream.rest()] == ["session_end"]


async def test_the_stream_ends_with_its_token(gateway: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, "hello")
    token = make_token(SECRET, "alice", lasts=timedelta(seconds=2))
    began = time.time()
    async with event_source(gateway, session_id, headers={"Authorization": f"Bearer {token}"}) as stream:
        (last,) = await stream.rest()
    assert (last["type"], last["data"]["code"]) == ("error", "token_expired")
    assert 0.9 < time.time() - began < 6


async def test_a_gateway_that_goes_sends_its_streams_away(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, "hello")
    with gateway_process(redis_url, "gw", DRAIN_S="0.5") as gateway:
        async with event_source(gateway, session_id) as stream:
            await stream.joined()
            gateway.process.terminate()
            (last,) = await stream.rest()
            assert (last["type"], stream.ids) == ("drain", [""])
            assert 0 <= last["data"]["reconnect_after_ms"] <= 500
        assert await asyncio.to_thread(gateway.process.wait, 10) == 0


class Deaf(httpx2.AsyncHTTPTransport):
    """Connections that hold little."""

    def __init__(self) -> None:
        super().__init__(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 131_072)])


async def test_a_slow_reader_gets_everything_and_holds_nobody_up(redis_url: str, gateway_bus: Bus, show: Show) -> None:
    writes, together = 150, 10  # 12 MB: more than sockets hold
    session_id = await open_session(gateway_bus, "hello")
    lease = await answering(gateway_bus, session_id)
    async with (
        gateway_here(redis_url, queue_max=64) as gateway,
        event_source(gateway, session_id, transport=Deaf()) as slow,
        event_source(gateway, session_id) as quick,
    ):
        await slow.joined()
        await quick.joined()
        for _ in range(writes):
            await write(lease, session_id, together, text="x" * SIZE)
            await quick.until("thinking")
        last = 2 + writes * together
        while seqs(slow)[-1:] != [last]:
            await slow.receive()
    assert seqs(quick) == seqs(slow) == list(range(3, last + 1))
    ephemeral = [sum(message["type"] == "thinking" for message in stream.seen) for stream in (quick, slow)]
    show(f"ephemeral events: quick {ephemeral[0]}, slow {ephemeral[1]}")
    assert ephemeral[0] == writes > 2 * ephemeral[1]


async def test_a_reader_that_takes_nothing_is_let_go(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus, "hello")
    lease = await answering(gateway_bus, session_id)
    async with (
        gateway_here(redis_url, ping_interval_s=0.1, connections_per_session=1) as gateway,
        event_source(gateway, session_id, transport=Deaf()) as stuck,
    ):
        await stuck.joined()
        assert await opened(gateway, session_id) == 429
        for _ in range(80):
            await write(lease, session_id, 10, text="x" * SIZE)
        async with asyncio.timeout(10):
            while await opened(gateway, session_id) == 429:
                pass


async def opened(gateway: RunningGateway, session_id: str) -> int:
    """The status of one more stream, which is closed again."""
    async with event_source(gateway, session_id) as stream:
        return stream.answer.status_code


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        ("?after=-1", {}, 422, "bad_query"),
        (f"?after={2**53 + 1}", {}, 422, "bad_query"),
        ("?after=1&after=1", {}, 422, "bad_query"),
        ("?epoch=abc", {}, 422, "bad_query"),
        ("?limit=0", {}, 422, "bad_query"),
        ("?limit=1001", {}, 422, "bad_query"),
        ("", {"Last-Event-ID": "yesterday"}, 422, "bad_query"),
        ("", {"Last-Event-ID": "abc:-1"}, 422, "bad_query"),
        ("", {"Accept": "text/html"}, 406, "not_acceptable"),
        ("", {"Accept": "text/event-stream;q=0"}, 406, "not_acceptable"),
    ],
)
async def test_a_place_that_is_none_is_refused(
    http: httpx2.AsyncClient, session_id: str, query: str, headers: dict[str, str], status: int, code: str
) -> None:
    answer = await http.get(f"/ai/sessions/{session_id}/events{query}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_only_members_read_the_log(gateway: RunningGateway, session_id: str) -> None:
    async with event_source(gateway, session_id, headers=bearer_of("mallory")) as stream:
        assert stream.answer.status_code == 404
