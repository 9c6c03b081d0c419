"""Steps ③ to ⑤ of a turn: asks the model, calls tools, asks again, until there is an answer."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Final

import structlog
from pydantic_ai.messages import InstructionPart, ModelMessage, ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from agent_worker import history, metrics
from agent_worker.agent import Agent
from agent_worker.answer import Answer, TurnContext
from agent_worker.calls import ToolCalls
from agent_worker.groups import first_reason
from agent_worker.journal import Responded, TakenBack, dump_entry
from agent_worker.models.ask import ModelFailed, ask
from agent_worker.models.choose import timeouts
from agent_worker.turn import AskModel, CallTools, StopTurn, Turn
from voicebus.bus.emission import Emission
from voicebus.chassis.held import Held
from voicebus.contract.errors import StageFailed
from voicebus.contract.events import Error, Response, ResponseRestarted
from voicebus.contract.payloads import ProblemData, ResponseData, ResponseRestartedData, Usage
from voicebus.contract.sessions import HistoryEntry

FIRST_BACK_OFF_S: Final = 0.5
PARSE_AFTER_S: Final = 0.1

_log = structlog.get_logger(__name__)


class Exchange:
    """One turn at work: `turn` holds what was done, `answer` the model response that is on its way."""

    def __init__(
        self, agent: Agent, held: Held, context: TurnContext, turn: Turn, *, mail_id: str, past: Sequence[ModelMessage]
    ) -> None:
        self.turn = turn
        self.answer: Answer | None = None
        self.first_token_ms: float | None = None
        self._agent = agent
        self._lease = held.lease
        self._context = context
        self._mail_id = mail_id
        self._past = past
        self._calls = ToolCalls(agent.tools, held, context, turn, agent.settings)

    async def run(self) -> None:
        """Work until the answer is out and the mail is done with.

        Raises:
            LeaseLost: another worker may own the stage.
            TurnCancelled: the turn was interrupted.
            TurnPostponed: the worker drains while a call waits to be approved.
            StageFailed: there will be no answer.
        """
        while True:
            match self.turn.next():
                case AskModel():
                    if await self._respond():
                        return
                case CallTools() as calls:
                    await self._calls.make(calls)
                case StopTurn():
                    raise StageFailed("too_many_steps")

    async def restart(self, response_id: str, first_seq: int) -> None:
        """Take back what is out of a response that was cut, but for the sentences that were heard."""
        data = ResponseRestartedData(response_id=response_id, discard_from_seq=first_seq)
        restarted = ResponseRestarted(**self._context.envelope, data=data)
        taken_back = TakenBack()
        await self._lease.emit(Emission(self._context.turn).restart(restarted).journal(dump_entry(taken_back)))
        self.turn.record(taken_back)

    async def fail(self, error: StageFailed) -> None:
        """Tell the clients that there is no answer; the mail is done with, and the session goes on."""
        answer = self.answer
        emission = answer.rest(whole=False) if answer else Emission(self._context.turn)
        problem = ProblemData(code=error.code, message=error.message, temporary=error.temporary)
        emission.event(Error(**self._context.envelope, data=problem))
        entry = history.answered(self.turn, self._context.turn, None, answer.text if answer else "")
        await self._end(emission, entry)

    async def _respond(self) -> bool:
        """One model response; True if it was the answer."""
        answer, response = await self._ask()
        emission = answer.rest()
        if answer.first_token_ms is not None and self.first_token_ms is None:
            self.first_token_ms = answer.first_token_ms
            metrics.first_token_seconds.observe(answer.first_token_ms / 1000)
        if not response.tool_calls:
            await self._conclude(emission, answer, response)
            return True
        responded = Responded(response_id=answer.response_id, message=response, segments=answer.segments)
        await self._lease.emit(emission.journal(dump_entry(responded)))
        self.turn.record(responded)
        self.answer = None
        return False

    async def _ask(self) -> tuple[Answer, ModelResponse]:
        """A finished response, after as many attempts as it takes.

        Raises:
            StageFailed: no attempt gave one.
        """
        attempts = self._agent.settings.agent_model_attempts
        back_off_s = FIRST_BACK_OFF_S
        for attempt in range(1, attempts + 1):
            first_segment, measured = self.turn.segments, self.first_token_ms is None
            said = await self._lease.said(self._context.turn) if self.turn.taken_back else {}
            answer = Answer(
                self._lease,
                self._context,
                self._agent.beat,
                first_segment=first_segment,
                measured=measured,
                said=said,
            )
            self.answer = answer
            reply = await self._stream(answer)
            if isinstance(reply, ModelResponse):
                return answer, reply
            metrics.model_failures.inc()
            _log.warning("model_failed", attempt=attempt, reason=reply.reason, retryable=reply.retryable)
            if not reply.retryable or attempt == attempts:
                raise StageFailed("model_unavailable" if reply.retryable else "agent_failed") from reply
            if answer.first_seq:
                await self.restart(answer.response_id, answer.first_seq)
            wait_s = back_off_s if reply.wait_s is None else reply.wait_s
            await asyncio.sleep(wait_s * random.uniform(1.0, 1.3))  # noqa: S311 - spreads attempts, keeps no secret
            back_off_s *= 2
        raise StageFailed("model_unavailable")

    async def _stream(self, answer: Answer) -> ModelResponse | ModelFailed:
        """One attempt. Its failure is no exception here, so that the writing beside it ends in good order."""
        with first_reason():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(answer.run())
                try:
                    with metrics.model_seconds.time():
                        return await ask(self._agent.model, *self._request(), answer.add)
                except ModelFailed as failure:
                    return failure
                finally:
                    answer.close()

    def _request(self) -> tuple[list[ModelMessage], ModelRequestParameters, ModelSettings]:
        settings = self._agent.settings
        instructions = [InstructionPart(content=self._agent.instructions)]
        if context := self._context.session.context:
            known = json.dumps(context, ensure_ascii=False)
            instructions.append(
                InstructionPart(content=f"What is known about this conversation: {known}", dynamic=True)
            )
        return (
            [*self._past, *self.turn.messages()],
            ModelRequestParameters(function_tools=self._agent.tools.definitions(), instruction_parts=instructions),
            timeouts(
                self._agent.model,
                first_token_s=settings.agent_first_token_timeout_s,
                response_s=settings.agent_response_timeout_s,
            ),
        )

    async def _conclude(self, emission: Emission, answer: Answer, response: ModelResponse) -> None:
        intent, confidence = self._intent()
        data = ResponseData(
            content=answer.text,
            response_id=answer.response_id,
            intent=intent,
            confidence=confidence,
            usage=self._usage(response),
            segments=self.turn.segments + answer.segments,
        )
        emission.event(Response(**self._context.envelope, data=data))
        turn_ms = self._context.ms()
        metrics.turn_seconds.observe(turn_ms / 1000)
        emission.ephemeral(self._context.metric("turn_ms", turn_ms))
        await self._end(emission, history.answered(self.turn, self._context.turn, response, answer.text))

    def _intent(self) -> tuple[str | None, float | None]:
        """What the user wanted, and how sure that is: as the model explains it, else the tool that was called last."""
        if self._agent.explain is not None:
            return self._agent.explain([*self._past, *self.turn.messages()], self._agent.tools.definitions())
        return (self.turn.tools[-1] if self.turn.tools else None), None

    def _usage(self, last: ModelResponse) -> Usage:
        usages = [response.usage for response in (*self.turn.responses, last)]
        usage = Usage(
            input_tokens=sum(usage.input_tokens for usage in usages),
            output_tokens=sum(usage.output_tokens for usage in usages),
        )
        metrics.model_tokens.labels("in").inc(usage.input_tokens)
        metrics.model_tokens.labels("out").inc(usage.output_tokens)
        return usage

    async def _end(self, emission: Emission, entry: HistoryEntry) -> None:
        """The turn's last write."""
        raw = entry.dump()
        emission.history(raw, keep=self._agent.settings.history_turns).answered(self._context.turn)
        await self._lease.emit(emission.cursor(self._mail_id))
        # The next turn needs the messages parsed. They are as soon as the machine has nothing more urgent to do.
        asyncio.get_running_loop().call_later(PARSE_AFTER_S, history.past_messages, (raw,))
