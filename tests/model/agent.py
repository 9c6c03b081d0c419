"""Workers of the agent stage: what the service does, with the same writes in the same order, without an LLM."""

from contextlib import suppress
from typing import ClassVar

from model.actors import World
from model.answering import Answering
from model.demand import demand
from model.hearing import sentence_of
from model.tools import ToolCalls
from model.workers import Worker

from voicebus.bus.delivery import Delivery
from voicebus.bus.emission import Emission
from voicebus.chassis.held import Held
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.contract import events, payloads
from voicebus.contract.errors import TurnCancelled
from voicebus.contract.keys import Stage
from voicebus.contract.mail import Say, Sentence, UserTurn
from voicebus.contract.sessions import HistoryEntry


class Agent(Worker):
    """Answers turns."""

    stage: ClassVar[Stage] = "agent"

    def __init__(self, world: World, name: str) -> None:
        super().__init__(world, name)
        self._serve = mail_by_mail(self.stage, self._answer)

    async def serve(self, held: Held) -> None:
        """Answers what is mailed."""
        await self._serve(held)

    async def _answer(self, held: Held, delivery: Delivery) -> None:
        mail = delivery.mail
        assert isinstance(mail, UserTurn | Say)
        asked = self.world.expected[held.session_id].questions.asked.get(mail.turn)
        demand(asked == mail.content or delivery.cancelled, "asked was", asked, "and mailed", mail)
        if isinstance(mail, Say):
            await self._say(held, delivery, mail)
            return
        turn = Answering(held, delivery, mail)
        demand(all(step["turn"] == turn.number for step in turn.journal), "another turn's journal:", turn.journal)
        if delivery.cancelled:
            await self._wind_up(turn)
            return
        try:
            await held.while_not_cancelled(turn.number, self._work(turn))
        except TurnCancelled:
            await self._wind_up(turn)

    async def _say(self, held: Held, delivery: Delivery, mail: Say) -> None:
        """All in one write."""
        demand(not delivery.journal, "the journal of what needs none:", delivery.journal)
        number, response_id = mail.turn, f"{held.lease.token}/{mail.turn}/1"
        token = payloads.TokenData(token="0", response_id=response_id)
        said = payloads.ResponseData(content="1", response_id=response_id, segments=1)
        text = sentence_of(response_id, number, 0)
        emission = Emission(number, response_id)
        emission.event(events.Token(**self.mark(held, number), data=token))
        emission.sentence(Sentence(turn=number, response_id=response_id, segment=0, text=text))
        emission.event(events.Response(**self.mark(held, number), data=said))
        emission.history(HistoryEntry(turn=number, user="", assistant="!").dump(), keep=self.world.turns_kept)
        if not delivery.cancelled:
            with suppress(TurnCancelled):
                await held.lease.emit(emission.answered(number).cursor(delivery.id))
                return
        await held.lease.emit(Emission().answered(number).cursor(delivery.id))

    async def _work(self, turn: Answering) -> None:
        cut = turn.delivery.response
        if cut and not turn.step("responded", cut):
            data = payloads.ResponseRestartedData(response_id=cut, discard_from_seq=turn.delivery.response_from)
            event = events.ResponseRestarted(**self.mark(turn.held, turn.number), data=data)
            step = turn.record("taken_back", cut)
            await turn.held.lease.emit(Emission(turn.number).restart(event).journal(step))
        if turn.tools:
            if not turn.step("responded"):
                await self._respond(turn, is_last=False)
            if await ToolCalls(self, turn).make():
                return  # the next worker waits on
        await self._respond(turn, is_last=True)

    async def _respond(self, turn: Answering, *, is_last: bool) -> None:
        lease, number = turn.held.lease, turn.number
        response_id = f"{lease.token}/{number}/{int(is_last)}"
        segments, tokens = turn.segments, 1 + (turn.plan >> 2) % 4
        said = await lease.said(number) if turn.taken_back else {}
        writes = []
        for token in range(tokens):
            emission = Emission(number, response_id)
            if not token:
                status = payloads.StatusData(status="thinking")
                emission.begin().ephemeral(events.Thinking(**self.mark(turn.held, number), data=status))
            data = payloads.TokenData(token=str(token), response_id=response_id)
            emission.event(events.Token(**self.mark(turn.held, number), data=data))
            if token % 2 == 0:
                text = sentence_of(response_id, number, segments)
                if said.get(segments) != text:
                    said = {}  # from here on it is another answer
                    emission.sentence(Sentence(turn=number, response_id=response_id, segment=segments, text=text))
                segments += 1
            writes.append(emission)
        for first in range(0, tokens, 2):
            await lease.emit(*writes[first : first + 2])
            if turn.thinks_long:
                await self.calls.pause()
        if is_last:
            answer = payloads.ResponseData(content=str(tokens), response_id=response_id, segments=segments)
            ends = Emission(number, response_id).event(events.Response(**self.mark(turn.held, number), data=answer))
            await lease.emit(self._ended(ends, turn, HistoryEntry(turn=number, user="?", assistant="!")))
        else:
            step = turn.record("responded", response_id, segments=segments)
            await lease.emit(Emission(number, response_id).journal(step))

    async def _wind_up(self, turn: Answering) -> None:
        cut = await turn.held.lease.cut(turn.number)
        emission = Emission()
        if turn.step("responded") or not cut.joined:
            entry = HistoryEntry(turn=turn.number, user="?", assistant=cut.heard, interrupted=True, cut=cut)
            self._ended(emission, turn, entry)
        else:
            emission.answered(turn.number).cursor(turn.delivery.id)
        await turn.held.lease.emit(emission)

    def _ended(self, emission: Emission, turn: Answering, entry: HistoryEntry) -> Emission:
        """The turn's last write."""
        emission.history(entry.dump(), keep=self.world.turns_kept)
        return emission.answered(turn.number).cursor(turn.delivery.id)
