"""How a stage that works mail by mail serves a session."""

import time
from collections.abc import Awaitable, Callable

from voicebus.bus.delivery import Delivery
from voicebus.chassis import metrics
from voicebus.chassis.held import Held
from voicebus.chassis.worker import Serve
from voicebus.contract.keys import Stage

Handle = Callable[[Held, Delivery], Awaitable[None]]  # moves the cursor past the mail in its last emission
LINGER_S = 10.0  # an idle stage is kept so long by an idle worker, a busy one gives it back sooner


def mail_by_mail(stage: Stage, handle: Handle) -> Serve:
    """Hands the session's mail to `handle` one after the other; releases the stage when there is none."""

    handled = {outcome: metrics.mail_handled.labels(stage, outcome) for outcome in ("ok", "failed")}
    seconds = metrics.mail_seconds.labels(stage)

    async def serve(held: Held) -> None:
        look = True
        while not held.draining:
            delivery = await held.lease.next() if look else None
            if delivery is None:
                look = True
                if not await held.rest(LINGER_S * (1 - held.load())) and await held.lease.release():
                    return
                continue
            outcome, began = "failed", time.perf_counter()
            try:
                await handle(held, delivery)
                outcome = "ok"
            finally:
                handled[outcome].inc()
                seconds.observe(time.perf_counter() - began)
            look = held.lease.more
        await held.lease.hand_over()

    return serve
