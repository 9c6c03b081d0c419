"""Leases to test with."""

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.mail import Sentence


async def a_lease(bus: Bus, session_id: str, worker: str = "w1") -> Lease:
    lease = await bus.stages("agent", worker).lease(session_id)
    assert lease is not None
    return lease


async def a_speaker(bus: Bus, session_id: str) -> Lease:
    """A lease of the tts stage that has nothing to do."""
    agent = await a_lease(bus, session_id)
    await agent.emit(Emission(1, "r0").sentence(Sentence(turn=1, response_id="r0", segment=0, text="First.")))
    await agent.hand_over()
    speaker = await bus.stages("tts", "t1").lease(session_id)
    assert speaker is not None
    delivery = await speaker.next()
    assert delivery is not None
    await speaker.emit(Emission().cursor(delivery.id))
    return speaker
