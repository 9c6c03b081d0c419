"""What must be true of a session, whatever happens: a pure model, told what was promised and what Redis did.

It knows no script. It hears which lease was granted and to when, which input was acknowledged, and everything that was
published; what workers write bears a mark (`Envelope.metadata`) that says who wrote it, so that each write can be told
from every other one.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from model.approvals import Approvals
from model.conversation import Conversation
from model.demand import demand
from model.hearing import Hearing, Spoken, sentence_of
from model.interruptions import Interruption
from model.questions import Questions, message_of

from voicebus.bus.items import EventItem, Item, SpeechItem
from voicebus.contract.keys import STAGES, Stage

CHUNKS = 3  # of speech in each sentence
NOISE = 8  # bytes: each block of a stream is either speech or noise


def microphone(stream: str, first: int, end: int) -> bytes:
    """A stream's bytes: their place decides what they are."""
    return bytes(zlib.crc32(f"{stream}/{at}".encode()) & 0xFF for at in range(first, end))


def transcript(stream: str, first: int, audio: bytes) -> str:
    """What a worker understands: a word that says which bytes it heard, and whether they were right; '' in noise."""
    end = first + len(audio)
    if all(zlib.crc32(f"{stream}~{at // NOISE}".encode()) % 3 == 0 for at in range(first, end)):
        return ""
    return f"{stream}:{first}:{end}:{zlib.crc32(audio)}"


@dataclass(slots=True)
class Owner:
    """The last lease of a stage; a stage that was given back may be leased before `until_ms`."""

    token: str = ""
    until_ms: int = 0


@dataclass(slots=True)
class Chunk:
    """A chunk of speech that was published."""

    turn: int
    response_id: str
    segment: int
    index: int  # within the segment


@dataclass(slots=True)
class Look:
    """What Redis holds of a session at one moment."""

    fields: Mapping[bytes, bytes]
    log: Sequence[tuple[int, bytes]]  # from the last look on
    first_seq: int  # that is kept
    speech: Sequence[int]
    mail: Mapping[Stage, Mapping[str, Mapping[bytes, bytes]]]
    ready: Mapping[Stage, float | None]
    dead: Mapping[Stage, Sequence[Mapping[bytes, bytes]]]  # of this session


@dataclass
class Expected:
    """One session."""

    session_id: str
    log_max: int
    attempts_max: int
    events: list[bytes] = field(default_factory=list)  # event `seq` stands at `seq - 1`
    chunks: list[Chunk] = field(default_factory=list)  # chunk `n` stands at `n - 1`
    owners: dict[Stage, Owner] = field(default_factory=lambda: {stage: Owner() for stage in STAGES})
    accepted: set[str] = field(default_factory=set)  # ids of messages that were acknowledged
    users: dict[str, int] = field(default_factory=dict)  # turns by the message that opened them
    ends: dict[int, str] = field(default_factory=dict)  # how turns ended
    answers: dict[int, int] = field(default_factory=dict)  # sentences of answered turns
    cancelled: set[int] = field(default_factory=set)
    abandoned: set[str] = field(default_factory=set)  # responses
    tokens: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    tools: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # what was shown of a call
    effects: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # of tools that may not be repeated
    approvals: Approvals = field(default_factory=Approvals)
    conversation: Conversation = field(default_factory=Conversation)
    questions: Questions = field(default_factory=Questions)
    hearing: Hearing = field(default_factory=Hearing)
    responses: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))  # by turn
    switched: set[str] = field(default_factory=set)
    interrupted: set[str] = field(default_factory=set)  # by these interruptions, with an effect or without
    asked_at: dict[int, int] = field(default_factory=dict)  # the `seq` of the events that opened turns
    unspoken: set[int] = field(default_factory=set)  # turns of which a sentence was given up
    marks: set[str] = field(default_factory=set)
    transcribed: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # bytes by stream
    safe: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # bytes that were acknowledged
    tried: dict[tuple[Stage, str], set[str]] = field(default_factory=lambda: defaultdict(set))  # leases by mail
    boxes: dict[Stage, dict[str, Mapping[bytes, bytes]]] = field(default_factory=dict)  # at the last look
    buried: dict[Stage, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 0))  # dead letters that were seen
    buriers: dict[Stage, list[str]] = field(default_factory=lambda: {stage: [] for stage in STAGES})  # their leases
    gave_up: set[Stage] = field(default_factory=set)  # stages that lack what was in a dead letter
    ended: bool = False
    looked: int = 0  # events of the log that were compared
    rolled_back: bool = False

    # --- what is told of scripts ---

    def granted(self, stage: Stage, token: str, now_ms: int, until_ms: int) -> None:
        """A worker got the stage."""
        owner = self.owners[stage]
        if token == owner.token:
            return
        demand(owner.until_ms <= now_ms, self.session_id, stage, "was leased away from its owner", owner, "to", token)
        self.owners[stage] = Owner(token, until_ms)

    def renewed(self, stage: Stage, token: str, until_ms: int) -> None:
        """Its owner keeps it."""
        demand(self.owners[stage].token == token, self.session_id, stage, token, "renewed, but", self.owners[stage])
        self.owners[stage].until_ms = until_ms

    def given_back(self, stage: Stage, token: str) -> None:
        """Its owner released it or handed it over."""
        demand(self.owners[stage].token == token, self.session_id, stage, token, "gave back what it had lost")
        self.owners[stage].until_ms = 0

    def given(self, stage: Stage, mail_id: str, token: str) -> None:
        """This lease was given this mail to work at."""
        self.tried[stage, mail_id].add(token)

    def gave_up_mail(self, stage: Stage, token: str, *, told: bool) -> None:
        """This lease skipped mail that had failed too often; clients were told unless its turn was cancelled."""
        self.gave_up.add(stage)
        if told:
            self.buriers[stage].append(token)
        elif stage == "agent":
            self.conversation.given_up += 1

    def effect(self, call_id: str, *, repeatable: bool, guarded: bool) -> None:
        """A tool does what it is for."""
        demand(not guarded or call_id in self.approvals.approved, "nobody approved", call_id)
        if not repeatable:
            self.effects[call_id] += 1
            demand(self.rolled_back or self.effects[call_id] == 1, "a second effect of", call_id)

    # --- what is published ---

    def interruption_begins(self, what: Interruption, now_ms: int) -> None:
        """Turns may have been cut: what is published next says which."""
        demand(what.message_id not in self.interrupted, "one interruption, executed twice:", what)
        demand(not what.token or what.token == self.owners["stt"].token, "an interruption of a lost lease:", what)
        self.interrupted.add(what.message_id)
        self.hearing.pass_time(now_ms)
        what.begin(self.hearing, {turn: [*self._to_speak(turn)] for turn in self.answers.keys() - self.cancelled})

    def interruption_ends(self, what: Interruption, waiting: Sequence[int], to_speak: Collection[int]) -> None:
        """Turns were cut. These are in the agent's mailbox, and in the one of TTS."""
        what.end(self.cancelled, waiting, to_speak)

    def published(self, item: Item, by: Interruption | None, now_ms: int) -> None:
        """`by` is given if the script that was executed cuts turns."""
        self.hearing.pass_time(now_ms)
        if isinstance(item, EventItem):
            self._event(item, by, now_ms)
        elif isinstance(item, SpeechItem):
            self._speech(item, now_ms)
        else:
            demand(item.seq == len(self.events), self.session_id, "an ephemeral event with another head", item)

    def _event(self, item: EventItem, by: Interruption | None, now_ms: int) -> None:
        event = orjson.loads(item.body)
        kind, turn, data = event["type"], event.get("turn"), event.get("data", {})
        demand(item.seq == event["seq"] == len(self.events) + 1, "not the next event:", len(self.events), event)
        demand(not self.ended, "an event after the session's end:", event)
        demand(kind == "interrupted" or turn not in self.cancelled, "an event of a cancelled turn:", event)
        self._mark(event)
        self.events.append(item.body)
        self._work(kind, turn, data, now_ms)
        match kind:
            case "user":
                self._open(turn, data["id"], event)
                self.questions.opened(turn, data)
            case "activity":
                self._open(turn, message_of(data["content"]), event)
                self.questions.told(turn, data["content"])
            case "stt":
                self._transcript(data["text"])
                self.questions.understood(data["text"])
            case "response":
                written = self.tokens[data["response_id"]]
                demand(written == list(range(int(data["content"]))), "tokens lost or repeated:", written, event)
                self._end(turn, kind)
                self.answers[turn] = data["segments"]
                self.approvals.answered(turn)
                self.conversation.answered.add(turn)
            case "error" if data["code"] == "agent_failed":
                self._end(turn, kind)
                self.approvals.over.add(turn)
                self.conversation.failed.add(turn)
            case "interrupted":
                self._cut(turn, data, by)
                joined, said = data.get("joined", False), turn in self.questions.said
                self.conversation.interrupted(turn, data["heard"], joined=joined, said=said)
            case "agent_switch":
                demand(data["to"] not in self.switched, "one message, two switches:", event)
                self.switched.add(data["to"])
            case "session_end":
                self.ended = True

    def _open(self, turn: int, message_id: str, event: Mapping[str, Any]) -> None:
        demand(message_id not in self.users, "one input, two turns:", event)
        demand(turn == len(self.users) + 1, "not the next turn:", event)
        self.users[message_id] = turn
        self.asked_at[turn] = event["seq"]

    def _work(self, kind: str, turn: int, data: Mapping[str, Any], now_ms: int) -> None:
        """What a worker shows of a turn on its way."""
        match kind:
            case "token":
                demand(data["response_id"] not in self.abandoned, "a token of an abandoned response:", data)
                self.tokens[data["response_id"]].append(int(data["token"]))
                if data["response_id"] not in self.responses[turn]:
                    self.responses[turn].append(data["response_id"])
            case "response_restarted":
                self.abandoned.add(data["response_id"])
                self.hearing.taken_back(turn, data["response_id"])
            case "tool_approval_request":
                self.approvals.asked(data["tool_call_id"], turn, now_ms)
            case "tool_call":
                self._show(kind, data, [])
                self.approvals.made(data["tool_call_id"])
            case "tool_result":
                self._show(kind, data, [] if data["outcome"] == "cancelled" else ["tool_call"])
                self.approvals.finished(data["tool_call_id"], data["outcome"], now_ms)

    def _show(self, kind: str, data: Mapping[str, Any], after: Sequence[str]) -> None:
        shown = self.tools[data["tool_call_id"]]
        demand(shown == after, "a tool's event out of order:", shown, kind, data)
        shown.append(kind)

    def _mark(self, event: Mapping[str, Any]) -> None:
        if not (mark := event.get("metadata")):
            return
        owner = self.owners[mark["stage"]]
        demand(mark["token"] == owner.token, "a write of a lost lease:", event, "the owner is", owner)
        demand(mark["write"] not in self.marks, "one write, two effects:", event)
        self.marks.add(mark["write"])

    def _end(self, turn: int, kind: str) -> None:
        demand(turn not in self.ends, "turn", turn, "ended twice:", self.ends.get(turn), kind)
        self.ends[turn] = kind

    def _cut(self, turn: int, data: Mapping[str, Any], by: Interruption | None) -> None:
        demand(turn not in self.cancelled, "turn", turn, "was interrupted twice")
        demand(by and turn in self.asked_at, "cut by nobody, or never begun:", turn, data, by)
        assert by
        asked = turn not in self.questions.said
        by.cuts(turn, data, question_known=asked and self.asked_at[turn] > len(self.events) - self.log_max)
        for n, chunk in enumerate(self.chunks, 1):
            void = chunk.turn == turn and not self._void(turn, chunk.response_id)
            demand(not void or n < data["speech_next"], "speech of a cut turn that is not void:", n, data)
            demand(chunk.turn <= turn or n >= data["speech_next"], "speech of another turn that is void:", n, data)
        if data.get("joined"):
            self.questions.joined(turn)
        self.hearing.cut(turn)
        self.cancelled.add(turn)
        self.ends[turn] = "interrupted"  # perhaps in the midst of its speech
        self.approvals.over.add(turn)

    def _transcript(self, text: str) -> None:
        stream, first, end, _ = text.split(":")
        known = int(first) >= self.transcribed[stream] and not self._missed(stream, int(first))
        demand(known or "stt" in self.gave_up, text, "follows", self.transcribed[stream])
        demand(text == transcript(stream, int(first), microphone(stream, int(first), int(end))), "misheard:", text)
        self.transcribed[stream] = int(end)

    def _missed(self, stream: str, end: int) -> bool:
        """Whether there are words below `end` that nobody understood yet."""
        first = self.transcribed[stream]
        return transcript(stream, first, bytes(max(0, end - first))) != ""

    def _speech(self, item: SpeechItem, now_ms: int) -> None:
        event = orjson.loads(item.header)
        data, turn = event["data"], event["turn"]
        demand(item.n == data["n"] == len(self.chunks) + 1, "not the next chunk:", len(self.chunks), event)
        demand(item.seq == len(self.events), "a chunk behind another event than the last:", event)
        demand(turn not in self.cancelled, "speech of a cancelled turn:", event)
        demand(data["response_id"] not in self.abandoned, "speech of an abandoned response:", event)
        self._mark(event)
        self.chunks.append(Chunk(turn, data["response_id"], data["segment"], int(item.audio[:2])))
        sentence = Spoken(data["response_id"], data["segment"], data.get("text", ""), now_ms)
        ms = len(item.audio) // 2 * 1000 // data["sample_rate"]
        self.hearing.chunk(turn, sentence, ms, is_last=data["is_last"])

    def void(self, n: int) -> bool:
        """Whether this chunk was taken back."""
        return self._void(self.chunks[n - 1].turn, self.chunks[n - 1].response_id)

    def _void(self, turn: int, response_id: str) -> bool:
        return turn in self.cancelled or response_id in self.abandoned

    # --- what Redis holds ---

    def compare(self, look: Look) -> None:
        """After every step."""
        heads = (int(look.fields.get(b"seq", 0)), int(look.fields.get(b"n", 0)))
        demand(heads == (len(self.events), len(self.chunks)), "heads", heads, len(self.events), len(self.chunks))
        for seq, body in look.log:
            demand(self.events[seq - 1] == body, "the log holds something else than was published:", seq, body)
        kept = range(max(self.looked + 1, look.first_seq), len(self.events) + 1)
        demand([seq for seq, _ in look.log] == list(kept), "a hole in the log:", [seq for seq, _ in look.log], kept)
        demand(look.first_seq <= max(1, len(self.events) - self.log_max + 1), "trimmed too far:", look.first_seq)
        self.looked = len(self.events)
        for stage in STAGES:
            self._compare_burials(stage, look.dead[stage])
            if not self.ended:
                self._compare_mail(stage, look)
        if not self.ended:
            self.approvals.compare(look.fields)
        gone = int(look.fields.get(b"speech_gone", 0))
        kept_chunks = [n for n in range(gone + 1, len(self.chunks) + 1) if not self.void(n)]
        demand(list(look.speech) == kept_chunks, "speech", look.speech, "instead of", kept_chunks)

    def _compare_mail(self, stage: Stage, look: Look) -> None:
        mail, cursor = look.mail[stage], (look.fields.get(f"{stage}.cursor".encode()) or b"0-0").decode()
        demand(all(_order(mail_id) > _order(cursor) for mail_id in mail), "mail before the cursor:", cursor, mail)
        demand(not mail or look.ready[stage] is not None, self.session_id, stage, "has mail that nobody will read")
        for mail_id, fields in self.boxes.get(stage, {}).items():
            if mail_id not in mail and _order(mail_id) > _order(cursor):
                demand(stage == "tts" and self._of_void(fields), "mail that waited is gone:", stage, mail_id, fields)
        if stage == "tts":
            for fields in mail.values():
                demand(not self._of_void(fields), "a sentence of what was taken back:", fields)
        self.boxes[stage] = dict(mail)

    def _of_void(self, fields: Mapping[bytes, bytes]) -> bool:
        return self._void(int(fields[b"t"]), fields[b"r"].decode())

    def _compare_burials(self, stage: Stage, letters: Sequence[Mapping[bytes, bytes]]) -> None:
        for number, letter in enumerate(letters[self.buried[stage] :], self.buried[stage]):
            leases = self.tried[stage, letter[b"mail"].decode()] | {self.buriers[stage][number]}
            demand(
                len(leases) > self.attempts_max, stage, "mail was given up after", len(leases), "leases had it:", letter
            )
            if stage == "tts":
                self.unspoken.add(int(letter[b"turn"]))
        self.buried[stage] = len(letters)

    # --- what is true in the end ---

    def finish(self) -> None:
        """When everybody had the time to do everything."""
        if self.ended:
            return
        for stage in STAGES:
            demand(not self.boxes[stage], self.session_id, stage, "never got to its mail:", self.boxes[stage])
        for message_id in self.accepted:
            demand(message_id in self.users or message_id in self.switched, "was acknowledged and lost:", message_id)
        for message_id, turn in self.users.items():
            demand(turn in self.ends, "turn", turn, "of", message_id, "has no end")
        if "stt" not in self.gave_up:
            for stream, offset in self.safe.items():
                heard = self.transcribed[stream]
                demand(not self._missed(stream, offset), stream, "was safe up to", offset, "and heard up to", heard)
        self._all_spoken()
        self.approvals.finish()
        self.questions.finish()

    def _all_spoken(self) -> None:
        spoken: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for chunk in self.chunks:
            if not self._void(chunk.turn, chunk.response_id):
                spoken[chunk.turn].append((chunk.segment, chunk.index))
        for turn in self.answers.keys() - self.cancelled - self.unspoken:
            wanted = [(segment, index) for segment in self._to_speak(turn) for index in range(CHUNKS)]
            demand(spoken[turn] == wanted, "turn", turn, "was spoken as", spoken[turn], "instead of", wanted)

    def _to_speak(self, turn: int) -> Iterator[int]:
        """The sentences of an answered turn but for those that were heard of responses that said the same before."""
        segment = 0
        for response_id in self.responses[turn]:
            if response_id in self.abandoned:
                continue
            said = self.hearing.said(turn)
            for _ in range(0, len(self.tokens[response_id]), 2):
                if said.get(segment) != sentence_of(response_id, turn, segment):
                    said = {}  # from here on it is another answer
                    yield segment
                segment += 1
        demand(segment == self.answers[turn], "turn", turn, "has", segment, "sentences, not", self.answers[turn])


def _order(mail_id: str) -> tuple[int, int]:
    time_ms, _, count = mail_id.partition("-")
    return int(time_ms), int(count)
