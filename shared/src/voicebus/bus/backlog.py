"""How much waits for workers, and for how long."""

import asyncio
import random
from dataclasses import dataclass

from voicebus.bus.calls import Calls
from voicebus.contract.keys import STAGES, Keys, Stage

_NAMED = 2  # sessions that a partition names, from each end of a stage's ready set
_SAMPLED = 64  # sessions of a stage whose mail is looked at


@dataclass(frozen=True, slots=True)
class Backlog:
    """Of one stage."""

    waiting: int = 0  # sessions that wait for a worker: nobody has them, or whoever had them fell silent
    oldest_s: float = 0.0  # how long the oldest mail of a sample of them has waited
    dead: int = 0  # letters that are kept


async def read_backlog(calls: Calls, keys: Keys, publish: str) -> dict[Stage, Backlog]:
    """Looks at every partition: one script for each, and one for each session of the samples.

    Raises:
        BusUnavailable: no answer within the deadline.
    """
    looks = [_look(calls, keys, publish, partition) for partition in range(keys.partitions)]
    partitions = await asyncio.gather(*looks)
    found: dict[Stage, Backlog] = {}
    for i, stage in enumerate(STAGES):
        named = [session_id.decode() for stages in partitions for session_id in stages[i][2]]
        sample = random.sample(named, _SAMPLED) if len(named) > _SAMPLED else named
        ages_ms = await asyncio.gather(*(_waited_ms(calls, keys, publish, stage, each) for each in sample))
        found[stage] = Backlog(
            waiting=sum(stages[i][0] for stages in partitions),
            oldest_s=max(ages_ms, default=0) / 1000,
            dead=sum(stages[i][1] for stages in partitions),
        )
    return found


async def _look(calls: Calls, keys: Keys, publish: str, partition: int) -> list[tuple[int, int, list[bytes]]]:
    names = [keys.ready(partition, stage) for stage in STAGES] + [keys.dead(partition, stage) for stage in STAGES]
    reply: list[tuple[int, int, list[bytes]]] = await calls.script("waiting", names, publish, "", _NAMED)
    return reply


async def _waited_ms(calls: Calls, keys: Keys, publish: str, stage: Stage, session_id: str) -> int:
    k = keys.of(session_id)
    reply: list[int] = await calls.script("waited", (k.session, k.mail(stage), k.ready(stage)), publish, "", stage)
    return max((0, *reply))
