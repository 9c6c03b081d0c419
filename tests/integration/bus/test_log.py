"""Replay: what is kept comes once and in order, and what is not kept is told once."""

from support.sessions import open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.items import EventItem, SpeechItem
from voicebus.bus.lease import Lease
from voicebus.contract import events, payloads
from voicebus.contract.mail import Sentence
from voicebus.contract.positions import GapRange, Position


async def speak(bus: Bus, session_id: str, *segments_ms: int) -> tuple[Lease, Lease]:
    """The agent and TTS answer turn 1 with segments of so many chunks of 20 ms; returns their leases."""
    agent = await bus.stages("agent", "a").lease(session_id)
    assert agent is not None
    await agent.next()
    texts = [Sentence(turn=1, response_id="r", segment=n, text="one two three four") for n in range(len(segments_ms))]
    begin = Emission(1, "r").begin()
    for sentence in texts:
        begin.sentence(sentence)
    await agent.emit(begin)
    voice = await bus.stages("tts", "t").lease(session_id)
    assert voice is not None
    await voice.next()
    envelope = events.Envelope(session_id=session_id, turn=1)
    for segment, ms in enumerate(segments_ms):
        for start in range(0, ms, 20):
            text = texts[segment].text if not start else None
            chunk = Emission(1, "r").speech(
                envelope, bytes(640), segment=segment, sample_rate=16_000, is_last=start + 20 >= ms, text=text
            )
            await voice.emit(chunk)
    return agent, voice


async def test_an_ended_sessions_log_is_kept_and_its_speech_goes_after_a_minute(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    await speak(bus, session_id, 40)
    await bus.sessions.end(session_id, "deleted")
    k = bus.keys.of(session_id)
    assert 0 < await bus.calls.command("PTTL", k.speech) <= 60_000
    assert await bus.calls.command("PTTL", k.log) > 80_000_000
    assert [type(item) for item in (await bus.log.read(session_id, Position())).items] == [
        *[EventItem] * 2,
        *[SpeechItem] * 2,
        EventItem,
    ]


async def test_speech_that_is_gone_is_told_once_however_many_pages_the_log_has(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    agent, _ = await speak(bus, session_id, 60)
    tokens = Emission(1, "r")
    for n in range(600):
        token = payloads.TokenData(token=str(n), response_id="r")
        tokens.event(events.Token(session_id=session_id, turn=1, data=token))
    await agent.emit(tokens)
    await bus.sessions.end(session_id, "deleted")
    await bus.calls.command("PEXPIRE", bus.keys.of(session_id).speech, 0)

    position, gaps, seqs, pages = Position(), list[GapRange](), list[int](), 0
    while position.seq < 603:
        page = await bus.log.read(session_id, position)
        gaps += page.gaps
        seqs += [item.seq for item in page.items]
        position, pages = page.position, pages + 1
    assert pages == 3
    assert seqs == list(range(1, 604))
    assert gaps == [GapRange(stream="speech", first=1, last=3, reason="trimmed")]


async def heard(bus: Bus, session_id: str) -> str:
    await bus.inbox.interrupt(session_id, agent_type="personal", turn=1)
    items = (await bus.log.read(session_id, Position())).items
    event = events.Interrupted.model_validate_json(next(i.body for i in reversed(items) if isinstance(i, EventItem)))
    return event.data.heard


async def test_the_furthest_report_of_what_was_played_counts(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    await speak(bus, session_id, 400, 400, 400)
    for segment, ms in ((0, 100), (1, 50), (1, 20), (0, 400), (2, 200), (1, 400), (2, 100)):
        await bus.inbox.played(session_id, 1, segment, ms)
    assert await heard(bus, session_id) == "one two three four one two three four one two"


async def test_a_report_for_a_turn_that_never_was_changes_nothing(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    await speak(bus, session_id, 400)
    await bus.inbox.played(session_id, 10**9, 0, 400)
    await bus.inbox.played(session_id, 1, 0, 300)
    assert await heard(bus, session_id) == "one two three"


async def test_a_page_is_bounded_by_size_and_the_next_one_goes_on_behind_it(bus: Bus) -> None:
    session_id = await open_session(bus, *("x" * 60_000 for _ in range(40)))
    position, complete, sizes, seqs = Position(), False, list[int](), list[int]()
    while not complete:
        page = await bus.log.read(session_id, position)
        sizes.append(sum(len(item.body) for item in page.items if isinstance(item, EventItem)))
        seqs += [item.seq for item in page.items]
        position, complete = page.position, page.complete
    assert seqs == list(range(1, 42))
    assert len(sizes) == 3
    assert max(sizes) < 1_200_000
