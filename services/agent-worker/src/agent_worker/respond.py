"""The agent stage: takes a turn from the mailbox and sees that it ends, whatever happens meanwhile.

A user's turn is answered; a text that is to be said is said as it is. An answer, an error or an interruption: each
ends with one write that adds the turn to the history, deletes its journal and moves the cursor. A worker that dies
before it leaves the journal to the next one.
"""

import time
from datetime import UTC, datetime
from typing import Any

from agent_worker import history
from agent_worker.agent import Agent
from agent_worker.answer import TurnContext
from agent_worker.calls import TurnPostponed
from agent_worker.exchange import Exchange
from agent_worker.journal import Finished, load_entry
from agent_worker.say import say
from agent_worker.tools.outcome import ToolOutcome
from agent_worker.turn import CallTools, Turn
from voicebus.bus.bus import Bus
from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.bus.items import EventItem
from voicebus.chassis.held import Held
from voicebus.chassis.logs import canonical_line
from voicebus.contract.codec import load_event
from voicebus.contract.errors import StageFailed, TurnCancelled
from voicebus.contract.events import Token
from voicebus.contract.mail import Say, UserTurn
from voicebus.contract.positions import Position
from voicebus.contract.sessions import Session


class Responder:
    """Handles the mail of the agent stage with one model and one set of tools."""

    def __init__(self, bus: Bus, agent: Agent) -> None:
        self._bus = bus
        self._agent = agent

    async def handle(self, held: Held, delivery: Delivery) -> None:
        """Answer one turn, from where an earlier worker left it. On drain it may be left to the next worker.

        Raises:
            LeaseLost: another worker may own the stage.
            VoicebusError: the bus failed; the turn is to be tried again.
        """
        mail, session = delivery.mail, delivery.session
        if not isinstance(mail, UserTurn | Say) or session is None:
            raise TypeError(f"mail that opens no turn: {mail!r}")
        context = TurnContext(session, mail.turn, time.perf_counter())
        with canonical_line(
            "turn_answered", session_id=held.session_id, turn=mail.turn, attempt=delivery.attempt
        ) as line:
            if isinstance(mail, Say):
                keep_turns = self._agent.settings.history_turns
                line["outcome"] = await say(held.lease, delivery, mail, context, keep_turns=keep_turns)
            else:
                await self._answer(held, delivery, mail, context, line)

    async def _answer(
        self, held: Held, delivery: Delivery, mail: UserTurn, context: TurnContext, line: dict[str, Any]
    ) -> None:
        entries = [load_entry(raw) for raw in delivery.journal]
        turn = Turn(mail.content, _mailed_at(delivery.id), entries, max_steps=self._agent.settings.agent_max_steps)
        past = history.past_messages(delivery.history)
        exchange = Exchange(self._agent, held, context, turn, mail_id=delivery.id, past=past)
        line["outcome"] = await self._conclude(held, delivery, exchange, context)
        line |= {
            "model": self._agent.model.model_name,
            "steps": turn.steps,
            "tools": turn.tools,
            "first_token_ms": exchange.first_token_ms,
        }

    async def _conclude(self, held: Held, delivery: Delivery, exchange: Exchange, context: TurnContext) -> str:
        if delivery.cancelled:
            await self._wind_up(held, delivery, exchange, context)
            return "cancelled"
        try:
            await held.while_not_cancelled(context.turn, self._work(delivery, exchange))
        except TurnCancelled:
            await self._wind_up(held, delivery, exchange, context)
            return "cancelled"
        except TurnPostponed:
            return "postponed"
        except StageFailed as error:
            return await self._fail(held, delivery, exchange, context, error)
        return "ok"

    async def _fail(
        self, held: Held, delivery: Delivery, exchange: Exchange, context: TurnContext, error: StageFailed
    ) -> str:
        try:
            await exchange.fail(error)
        except TurnCancelled:
            await self._wind_up(held, delivery, exchange, context)
            return "cancelled"
        return error.code

    async def _work(self, delivery: Delivery, exchange: Exchange) -> None:
        if delivery.response and not exchange.turn.responded(delivery.response):
            await exchange.restart(delivery.response, delivery.response_from)
        await exchange.run()

    async def _wind_up(self, held: Held, delivery: Delivery, exchange: Exchange, context: TurnContext) -> None:
        """Record what became of an interrupted turn. Its events are refused; history, journal and cursor are not."""
        turn = exchange.turn
        begun = turn.next()
        if isinstance(begun, CallTools):
            for todo in begun.todo:
                content = "not made" if todo.action == "start" else "called off; it may have had part of its effect"
                outcome = ToolOutcome(content=content, is_error=True, outcome="cancelled", duration_ms=0)
                turn.record(Finished(tool_call_id=todo.call.tool_call_id, outcome=outcome))
        cut = await held.lease.cut(context.turn)
        if context.spoken or cut.joined:
            entry = history.heard(turn, context.turn, cut)
        elif delivery.cancelled and delivery.response and not turn.responded(delivery.response):
            entry = history.written(turn, context.turn, await self._written(context.session, delivery))
        else:
            entry = history.written(turn, context.turn, exchange.answer.text if exchange.answer else "")
        emission = Emission()
        if turn.steps or not cut.joined:
            emission.history(entry.dump(), keep=self._agent.settings.history_turns)
        await held.lease.emit(emission.answered(context.turn).cursor(delivery.id))

    async def _written(self, session: Session, delivery: Delivery) -> str:
        """What an earlier worker let the clients read of the response that was cut."""
        at = session.position
        position = Position(epoch=at.epoch, seq=delivery.response_from - 1, speech=at.speech)
        page = await self._bus.log.read(session.session_id, position, most_events=4_096)
        events = [load_event(item.body) for item in page.items if isinstance(item, EventItem)]
        tokens = [event.data for event in events if isinstance(event, Token)]
        return "".join(token.token for token in tokens if token.response_id == delivery.response)


def _mailed_at(mail_id: str) -> datetime:
    """When Redis took the mail: the same for whoever works on it."""
    return datetime.fromtimestamp(int(mail_id.partition("-")[0]) / 1000, UTC)
