"""Mail that fails until it is given up, without workers."""

from support.sessions import open_session
from voicebus.bus.bus import Bus
from voicebus.bus.lease import Lease
from voicebus.contract.keys import Stage


async def bury(bus: Bus, stage: Stage, session_id: str) -> Lease:
    """The stage's first mail fails until it is given up; the last worker still owns the stage."""
    stages = bus.stages(stage, f"{stage}-1")
    while True:
        lease = await stages.lease(session_id)
        assert lease is not None
        before = lease.cursor
        await lease.next()
        if lease.cursor != before:
            return lease
        await lease.hand_over(failed=True)


async def bury_question(bus: Bus, text: str = "poison") -> str:
    """A session whose first question was given up; returns its id."""
    session_id = await open_session(bus, text)
    await (await bury(bus, "agent", session_id)).release()
    return session_id
