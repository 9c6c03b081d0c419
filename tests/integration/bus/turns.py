"""Turns that are answered, spoken and heard, without workers."""

import orjson
from support.sessions import events_of

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract import events, payloads
from voicebus.contract.events import Interrupted
from voicebus.contract.keys import Stage
from voicebus.contract.mail import Sentence
from voicebus.contract.sessions import HistoryEntry

AUDIO, RATE = bytes(32_000), 800  # 20 s of speech


async def lease_of(bus: Bus, stage: Stage, session_id: str) -> Lease:
    lease = await bus.stages(stage, f"{stage}-1").lease(session_id)
    assert lease is not None
    return lease


async def listener(bus: Bus, session_id: str) -> Lease:
    """The stt stage's owner, which needs mail to be leased."""
    k = bus.keys.of(session_id)
    await bus.calls.command("ZADD", k.ready("stt"), 0, session_id)
    return await lease_of(bus, "stt", session_id)


def sentence(text: str, *, turn: int = 1, segment: int = 0, response: str = "r1") -> Emission:
    mail = Sentence(turn=turn, response_id=response, segment=segment, text=text)
    return Emission(turn, response).begin().sentence(mail)


def speech(
    session_id: str, text: str, *, turn: int = 1, segment: int = 0, response: str = "r1", whole: bool = True
) -> Emission:
    """20 s that say the text."""
    envelope = events.Envelope(session_id=session_id, turn=turn)
    return Emission(turn, response).speech(envelope, AUDIO, segment=segment, sample_rate=RATE, is_last=whole, text=text)


async def lease_of_speaker(bus: Bus, session_id: str) -> Lease:
    """The tts stage's owner, which needs mail to be leased."""
    await bus.calls.command("ZADD", bus.keys.of(session_id).ready("tts"), 0, session_id)
    return await lease_of(bus, "tts", session_id)


async def spoken(bus: Bus, session_id: str, text: str) -> None:
    """The tts stage's last write of the one sentence that waits."""
    speaker = await lease_of(bus, "tts", session_id)
    delivery = await speaker.next()
    assert delivery is not None
    await speaker.emit(speech(session_id, text).cursor(delivery.id))


async def restart(agent: Lease, response: str = "r1") -> None:
    """The agent takes the response of turn 1 back."""
    restarted = payloads.ResponseRestartedData(response_id=response, discard_from_seq=3)
    event = events.ResponseRestarted(session_id=agent.session_id, turn=1, data=restarted)
    await agent.emit(Emission(1).restart(event))


async def passed(bus: Bus, session_id: str, ms: int) -> None:
    """As if so much time had passed since all speech so far came out."""
    k = bus.keys.of(session_id)
    playing = (await bus.calls.command("HGET", k.session, "playback") or b"").decode()
    earlier = []
    for playback in filter(None, playing.split(",")):
        turn, begins_ms, duration_ms, played_ms, at_ms, begun = playback.split(":")
        at_ms = str(int(at_ms) - ms) if played_ms != "-1.000" else at_ms
        earlier.append(f"{turn}:{float(begins_ms) - ms:.3f}:{duration_ms}:{played_ms}:{at_ms}:{begun},")
    await bus.calls.command("HSET", k.session, "playback", "".join(earlier))
    for index, raw in enumerate(await bus.calls.command("LRANGE", k.spoken, 0, -1)):
        sentence = orjson.loads(raw)
        sentence["at"] -= ms
        await bus.calls.command("LSET", k.spoken, index, orjson.dumps(sentence))


async def answered(lease: Lease, turn: int, text: str, *, keep: int = 50) -> None:
    """The agent's last write of a turn."""
    delivery = await lease.next()
    assert delivery is not None
    entry = HistoryEntry(turn=turn, user="?", assistant=text).dump()
    await lease.emit(sentence(text, turn=turn).history(entry, keep=keep).answered(turn).cursor(delivery.id))


async def cuts_of(bus: Bus, session_id: str) -> list[payloads.InterruptedData]:
    return [event.data for event in await events_of(bus, session_id) if isinstance(event, Interrupted)]
