"""Step ⑤ alone: says a text that was given, without asking the model.

All of the turn is one write, which either counts or doesn't: a worker that dies leaves nothing half said to the next.
"""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

from agent_worker import history
from agent_worker.answer import TurnContext
from agent_worker.sentences import SentenceSplitter
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.lease import Lease
from voicebus.contract.errors import TurnCancelled
from voicebus.contract.events import Response, Token
from voicebus.contract.mail import Say, Sentence
from voicebus.contract.payloads import ResponseData, TokenData

PIECE: Final = 2_048  # characters that are split at a stretch: other sessions wait meanwhile


async def say(lease: Lease, delivery: Delivery, mail: Say, context: TurnContext, *, keep_turns: int) -> str:
    """Say the text that was mailed; the mail is done with. Returns how it ended: `ok` or `cancelled`.

    Raises:
        LeaseLost: another worker may own the stage.
    """
    if not delivery.cancelled:
        emission = await _said(mail.content, context, keep_turns)
        with suppress(TurnCancelled):
            await lease.emit(emission.answered(context.turn).cursor(delivery.id))
            return "ok"
    # Nothing of it was said, so the history doesn't know it.
    await lease.emit(Emission().answered(context.turn).cursor(delivery.id))
    return "cancelled"


async def _said(text: str, context: TurnContext, keep_turns: int) -> Emission:
    response_id = uuid4().hex
    sentences = await _sentences(text) if context.spoken else []
    emission = Emission(context.turn, response_id)
    emission.event(Token(**context.envelope, data=TokenData(token=text, response_id=response_id)))
    for segment, sentence in enumerate(sentences):
        emission.sentence(
            Sentence(
                turn=context.turn,
                response_id=response_id,
                segment=segment,
                text=sentence,
                agent_type=context.session.agent_type,
            )
        )
    data = ResponseData(content=text, response_id=response_id, intent="say", segments=len(sentences))
    emission.event(Response(**context.envelope, data=data))
    emission.ephemeral(context.metric("turn_ms", context.ms()))
    return emission.history(history.said(context.turn, text).dump(), keep=keep_turns)


async def _sentences(text: str) -> list[str]:
    splitter = SentenceSplitter()
    sentences: list[str] = []
    for start in range(0, len(text), PIECE):
        sentences += splitter.feed(text[start : start + PIECE])
        await asyncio.sleep(0)
    return sentences + splitter.flush()
