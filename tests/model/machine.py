"""The machine: processes on one bus, and whatever may happen to them between any two of their calls.

A rule picks by number among all that can go on just now, so that an example is a sequence of small numbers, which
Hypothesis can shorten. After each rule the sessions are compared with what is expected of them; in the end all goes on
without faults until nothing is left to do, and then nothing may be missing.
"""

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from model.actors import PUBLISH, Client, Process, Reader, World, look_back
from model.agent import Agent
from model.approvals import PATIENCE_MS
from model.demand import demand
from model.expected import Expected
from model.faults import FAULTS, PREFIX, Call, Fault, FaultyCalls, Network, Servers
from model.interruptions import Interruption
from model.looks import interruption_of, look_of, questions, tell, turns_of
from model.speech import Listener, Speaker
from model.workers import Worker, brought_mail

from voicebus.bus.items import parse_live
from voicebus.bus.sessions import Sessions
from voicebus.bus.settings import BusSettings
from voicebus.contract.keys import STAGES, Keys, Stage
from voicebus.contract.sessions import NewSession

START_MS = 1_700_000_000_000
LEASE_MS = 9_000
ROUNDS = 60  # of a quiet end, until something counts as stuck
NUMBERS = st.integers(0, 997)
LISTENING = st.tuples(st.sampled_from([0, 15, 40, 100]), st.sampled_from([0, 100, 700, 1_300, 2_000, 3_500]))
KINDS = ("text", "text", "text", "instead", "said")
PICKS = st.lists(NUMBERS, max_size=16)
WORKERS: dict[Stage, type[Worker]] = {"stt": Listener, "agent": Agent, "tts": Speaker}
WORDS = st.lists(st.sampled_from(["approved", "denied", "again", "otherwise"]), min_size=1, max_size=3)


def happens(**what: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule, after which some processes go on, and the sessions are compared."""

    def decorate(happening: Callable[..., None]) -> Any:
        def rule_of(self: "BusMachine", picks: list[int], **chosen: Any) -> None:
            with self.checked():
                happening(self, **chosen)
                self.go_on(picks)

        rule_of.__name__ = happening.__name__
        return rule(picks=PICKS, **what)(rule_of)  # type: ignore[call-overload]  # its overloads know no dict

    return decorate


class Loop(asyncio.SelectorEventLoop):
    """An event loop that runs until all its tasks wait for the machine."""

    _ready: Any  # asyncio's

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(lambda _loop, _context: None)  # a task's failure comes over its process

    def settle(self) -> None:
        """Runs what can run."""
        for _ in range(10_000):
            if not self._ready:
                return
            self.stop()
            self.run_forever()
        raise AssertionError("a task goes on without waiting for anything")


class BusMachine(RuleBasedStateMachine):
    """The rules. `servers` are set by whoever runs it."""

    servers: ClassVar[Servers]

    def __init__(self) -> None:
        super().__init__()
        self.servers.wipe(START_MS)
        self.loop = Loop()
        self.processes: list[Process] = []
        self.streams: dict[str, tuple[str, int]] = {}  # session and length
        self.words: dict[str, tuple[str, str, str]] = {}  # said last: message, call and word, by session
        self.sound = True
        self._names = 0

    @initialize(
        sessions=st.integers(1, 2),
        workers=st.integers(1, 2),
        attempts_max=st.sampled_from([1_000, 2, 1]),
        log_max=st.sampled_from([10_000, 30]),
        turns_kept=st.sampled_from([50, 2]),
    )
    def open(self, sessions: int, workers: int, attempts_max: int, log_max: int, turns_kept: int) -> None:
        """Opens sessions that nobody disturbs yet."""
        settings = BusSettings(
            prefix=PREFIX, partitions=4, log_max=log_max, attempts_max=attempts_max, lease_ms=LEASE_MS,
            waiting_turns_max=4, waiting_audio_max=12,
        )  # fmt: skip
        self.keys = Keys(settings.prefix, settings.partitions)
        self.names = [f"s{number}" for number in range(sessions)]
        self.expected = {name: Expected(name, log_max, attempts_max) for name in self.names}
        self.network = Network(self.servers, self._seen)
        self.world = World(self.network, self.keys, settings, self.expected, self.loop, turns_kept)
        self.readers = [Reader(self.world, name) for name in self.names]
        self.workers: list[Worker] = []
        self.clients: list[Client] = []
        with self.checked():
            for name in self.names:
                self._at_once(partial(_open, world=self.world, session_id=name))
            for stage in STAGES:
                for _ in range(workers):
                    self._hire(stage)

    # --- what goes on by itself ---

    @happens()
    def work(self) -> None:
        """Nothing out of the ordinary."""

    def go_on(self, picks: list[int]) -> None:
        """Somebody does the next thing, and somebody else."""
        for pick in picks:
            if choices := self._choices():
                self._do(choices[pick % len(choices)])

    @happens(pick=NUMBERS, listening=LISTENING)
    def listen(self, pick: int, listening: tuple[int, int]) -> None:
        """Clients hear what is spoken."""
        self._listen(pick, listening)

    @happens(pick=NUMBERS, fault=st.sampled_from([fault for fault in FAULTS if fault not in ("none", "swapped")]))
    def go_wrong(self, pick: int, fault: Fault) -> None:
        """A pipeline fares badly."""
        if lanes := list(self._lanes()):
            calls, lane = lanes[pick % len(lanes)]
            self._do(partial(calls.serve, lane, fault))

    @happens()
    def overtake(self) -> None:
        """The writes of each pipeline arrive in another order."""
        for calls, lane in list(self._lanes()):
            if calls.under_way(lane) > 1:
                self._do(partial(calls.serve, lane, "swapped"))

    @happens(pick=NUMBERS)
    def arrive_late(self, pick: int) -> None:
        """A copy of an old call reaches Redis."""
        if self.network.late:
            self._do(partial(self.network.execute_late, pick))

    @happens(ms=st.sampled_from([150, 1_000, 2_500, 9_001, 20_000]))
    def pass_time(self, ms: int) -> None:
        """Leases run out, streams fall silent, playback goes on."""
        self.servers.now_ms += ms

    # --- clients ---

    @happens(pick=NUMBERS, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    def say(self, pick: int, kinds: list[str]) -> None:
        """Texts, each from a connection of its own; some in place of what goes on, some for the agent to say."""
        for kind in kinds:
            client = self._client(pick)
            client.spawn(client.say(self._name(kind)))

    @happens(pick=NUMBERS, size=st.integers(0, 30), step=st.integers(1, 9))
    def talk(self, pick: int, size: int, step: int) -> None:
        """A microphone."""
        client, stream = self._client(pick), self._name("stream")
        self.streams[stream] = (client.session_id, size)
        client.spawn(client.talk(stream, stream, size, step))

    @precondition(lambda self: self.streams)
    @happens(pick=NUMBERS, step=st.integers(1, 9))
    def talk_elsewhere(self, pick: int, step: int) -> None:
        """A client goes on with its stream over another connection."""
        self._take_over(list(self.streams)[pick % len(self.streams)], step)

    @happens(
        pick=NUMBERS,
        asked=st.sampled_from([0, 0, 2]),
        which=st.sampled_from([0, 0, 0, 1, 2, 2, 3]),
        played_ms=st.none() | st.integers(0, 3_000),
        listening=LISTENING,
    )
    def interrupt(self, pick: int, asked: int, which: int, played_ms: int | None, listening: tuple[int, int]) -> None:
        """By default what goes on, perhaps several answers; or the next turn, the last one, or the one before.

        Some clients know how much they have played.
        """
        if asked:
            self._ask(pick, asked)
            self._answer()
        self._listen(pick, listening)
        client = self._client(pick)
        turn = max(1, len(client.expected.users) + 2 - which) if which else None
        client.spawn(client.interrupt(self._name("interrupt"), turn, played_ms))

    @happens(
        pick=NUMBERS,
        which=st.integers(0, 8),
        later=st.sampled_from([0, 0, 0, 1]),
        reports=st.lists(st.integers(0, 2_500), min_size=1, max_size=3),
    )
    def hear_speech(self, pick: int, which: int, later: int, reports: list[int]) -> None:
        """Clients tell what was played: of this sentence, or of the one behind it, which may not be out."""
        for ms in reports:
            client = self._client(pick)
            if chunks := client.expected.chunks[-1 - which :]:
                client.spawn(client.played(chunks[0].turn, chunks[0].segment + later, ms))

    @happens(pick=NUMBERS)
    def switch(self, pick: int) -> None:
        """Another agent goes on."""
        client = self._client(pick)
        client.spawn(client.switch(self._name("switch")))

    @precondition(lambda self: any(expected.approvals.calls for expected in self.expected.values()))
    @happens(pick=NUMBERS, which=st.integers(0, 3), words=WORDS, late=st.booleans())
    def decide(self, pick: int, which: int, words: list[str], late: bool) -> None:
        """People decide on one of the last tool calls, perhaps late; or say the same again, or its opposite."""
        if late:
            self.servers.now_ms += PATIENCE_MS
        name = self.names[pick % len(self.names)]
        calls = list(self.expected[name].approvals.calls)
        for word in words:
            if word in ("approved", "denied") and calls:
                self._decide(name, calls[-1 - which % len(calls)], word)
            elif name in self.words:
                message_id, call_id, said = self.words[name]
                opposite = "denied" if said == "approved" else "approved"
                self._decide(name, call_id, said if word == "again" else opposite, message_id)

    @precondition(lambda self: any(expected.ends for expected in self.expected.values()))
    @happens(pick=NUMBERS)
    def look_back(self, pick: int) -> None:
        """Somebody reads the conversation."""
        self._look_back(self.names[pick % len(self.names)], complete=False)

    @precondition(lambda self: len(self.names) > 1)
    @happens(seldom=st.integers(0, 7))
    def end(self, seldom: int) -> None:
        """The last session ends."""
        if not seldom:
            client = self._client(-1)
            client.spawn(client.end())

    @happens(pick=NUMBERS)
    def vanish(self, pick: int) -> None:
        """A client's gateway dies; a text is sent again over another one."""
        if self.clients:
            self._end(self.clients[pick % len(self.clients)])

    # --- readers ---

    @happens(pick=NUMBERS)
    def lose_messages(self, pick: int) -> None:
        """A gateway's subscription goes deaf."""
        self._reader(pick).cut()

    @happens(pick=NUMBERS)
    def hear_again(self, pick: int) -> None:
        """Its connection is made anew."""
        self._reader(pick).reconnect()

    @happens(pick=NUMBERS)
    def resume(self, pick: int) -> None:
        """A client comes back at another gateway."""
        self._reader(pick).move()

    # --- workers ---

    @happens(
        pick=NUMBERS,
        asked=st.sampled_from([0, 0, 1]),
        late=st.booleans(),
        midway=st.booleans(),
        listening=LISTENING,
    )
    def crash(self, pick: int, asked: int, late: bool, midway: bool, listening: tuple[int, int]) -> None:
        """`kill -9`, perhaps in the midst of long work, and a new worker, perhaps only when leases have run out."""
        self._ask(pick, asked)
        self._listen(pick, listening)
        if late:
            self.servers.now_ms += LEASE_MS + 1
        worker = self._worker(pick, midway=midway)
        self._end(worker)
        self._hire(worker.stage)

    @happens(pick=NUMBERS)
    def drain(self, pick: int) -> None:
        """SIGTERM, and a new worker."""
        worker = self._worker(pick)
        if not worker.draining.is_set():
            worker.drain()
            self._hire(worker.stage)

    @happens(pick=NUMBERS)
    def miss_words(self, pick: int) -> None:
        """Wake-ups and cancellations get lost."""
        self.workers[pick % len(self.workers)].words.clear()

    # --- the end ---

    def teardown(self) -> None:
        """All goes on in peace; then nothing may be missing."""
        try:
            if self.sound and self.processes:
                with self.checked():
                    self._calm_down()
                    for name, expected in self.expected.items():
                        expected.finish()
                        self._look_back(name, complete=not expected.ended)
        finally:
            for process in (*self.processes, *getattr(self, "readers", ())):
                process.crash()
            self.loop.settle()
            self.loop.close()

    def _calm_down(self) -> None:
        while self.network.late:
            self._do(partial(self.network.execute_late, 0))
        for reader in self.readers:
            reader.reconnect()
        for number in range(ROUNDS):
            self._exhaust()
            self._compare()
            for worker in self.workers:
                worker.look()
                for session_id, held in list(worker.held.items()):
                    worker.renew(session_id)
                    if number % 2:
                        held.tire()
                    elif worker.stage == "stt":
                        held.wake()  # it polls
            self.loop.settle()
            self._exhaust()
            self._finish_streams()
            self._decide_some()
            if not self._left():
                return
            self.servers.now_ms += LEASE_MS // 3
        demand(False, "stuck:", self._left())

    def _exhaust(self) -> None:
        for _ in range(5_000):
            if not (choices := self._urgent() or self._pauses()):
                return
            self._do(choices[0])
        demand(False, "there is no end of it:", self._left())

    def _finish_streams(self) -> None:
        for stream, (name, _) in self.streams.items():
            if self.expected[name].ended:
                continue
            k = self.keys.of(name)
            is_open = self.servers.node_of(k.session).command("HGET", k.session, "audio.stream") == stream.encode()
            if is_open and not any(client.busy and client.stream == stream for client in self.clients):
                self._take_over(stream, 9)

    def _decide_some(self) -> None:
        """On some calls that wait; the others expire."""
        for name, expected in self.expected.items():
            for call_id in expected.approvals.waiting(self.servers.now_ms):
                if word := ("", "approved", "denied")[zlib.crc32(call_id.encode()) % 3]:
                    self._decide(name, call_id, word)

    def _left(self) -> list[object]:
        """What is still to be done."""
        self._compare()
        left: list[object] = [client for client in self.clients if client.busy]
        for name, expected in self.expected.items():
            if not expected.ended:
                left += [(name, stage, box) for stage, box in expected.boxes.items() if box]
        for reader in self.readers:
            expected = self.expected[reader.session_id]
            if (reader.view.seq, reader.view.n) != (len(expected.events), len(expected.chunks)):
                left.append(reader.view.last)
        return left

    # --- how it is done ---

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    def _client(self, pick: int) -> Client:
        client = Client(self.world, self.names[pick % len(self.names)])
        self.clients = [old for old in self.clients if old.busy] + [client]
        self.processes.append(client)
        return client

    def _reader(self, pick: int) -> Reader:
        return self.readers[pick % len(self.readers)]

    def _worker(self, pick: int, *, midway: bool = False) -> Worker:
        """One that has something to lose, if there is any."""
        workers = [worker for worker in self.workers if worker.held] or self.workers
        if midway:
            workers = [worker for worker in workers if any(map(worker.calls.pauses, worker.calls.lanes()))] or workers
        return workers[pick % len(workers)]

    def _hire(self, stage: Stage) -> None:
        worker = WORKERS[stage](self.world, self._name(stage))
        self.workers.append(worker)
        self.processes.append(worker)

    def _end(self, process: Process) -> None:
        process.crash()
        self.loop.settle()
        for crowd in (self.workers, self.clients, self.processes):
            if process in crowd:
                crowd.remove(process)  # type: ignore[arg-type]  # it is in it

    def _decide(self, name: str, call_id: str, word: str, message_id: str = "") -> None:
        self.words[name] = (message_id or self._name("word"), call_id, word)
        client = self._client(self.names.index(name))
        client.spawn(client.decide(*self.words[name]))

    def _listen(self, pick: int, listening: tuple[int, int]) -> None:
        """So many things are done that wait for nothing, and so many milliseconds pass."""
        count, ms = listening
        for _ in range(count):
            if not (choices := self._urgent()):
                break
            self._do(choices[pick % len(choices)])
        self.servers.now_ms += ms

    def _ask(self, pick: int, count: int) -> None:
        for _ in range(count):
            client = self._client(pick)
            client.spawn(client.say(self._name("text")))

    def _answer(self) -> None:
        """Everybody does what can be done at this time."""
        for number in range(300):
            looks = [worker.look for worker in self.workers if worker.may_look]
            if not (choices := self._urgent() or self._pauses() or looks):
                return
            self._do(choices[number % len(choices)])

    def _take_over(self, stream: str, step: int) -> None:
        name, size = self.streams[stream]
        client = self._client(self.names.index(name))
        client.spawn(client.talk(stream, self._name("connection"), size, step))

    def _lanes(self) -> Iterator[tuple[FaultyCalls, object]]:
        for process in (*self.processes, *self.readers):
            for lane in process.calls.lanes():
                yield process.calls, lane

    def _urgent(self) -> list[Callable[[], None]]:
        """What waits for nothing else."""
        choices: list[Callable[[], None]] = [
            partial(calls.serve, lane) for calls, lane in self._lanes() if not calls.pauses(lane)
        ]
        choices += [worker.hear for worker in self.workers if worker.words]
        for reader in self.readers:
            if reader.heard:
                choices.append(reader.hear)
            if reader.feed.reading and not reader.busy and reader.connected:
                choices.append(reader.read)
        return choices

    def _pauses(self) -> list[Callable[[], None]]:
        """What takes its time."""
        return [partial(calls.serve, lane) for calls, lane in self._lanes() if calls.pauses(lane)]

    def _choices(self) -> list[Callable[[], None]]:
        """What can happen next, without a fault."""
        choices = self._urgent() * 3 + self._pauses()
        for worker in self.workers:
            if worker.may_look:
                choices.append(worker.look)
            for session_id, held in worker.held.items():
                choices.append(partial(worker.renew, session_id))
                if held.waiting:
                    choices += [held.wake, held.tire]
        for name, expected in self.expected.items():
            for call_id in expected.approvals.waiting(self.servers.now_ms):
                choices += [partial(self._decide, name, call_id, word) for word in ("approved", "denied")]
        return choices

    def _do(self, choice: Callable[[], None]) -> None:
        choice()
        self.loop.settle()
        if self.world.failures:
            raise self.world.failures[0]

    def _at_once(self, work: Callable[[FaultyCalls], Coroutine[Any, Any, None]]) -> None:
        """Does something before anything else goes on."""
        process = Process(self.world)
        process.spawn(work(process.calls))
        self.loop.settle()
        while lanes := process.calls.lanes():
            self._do(partial(process.calls.serve, lanes[0]))

    def _look_back(self, name: str, *, complete: bool) -> None:
        self._at_once(partial(look_back, world=self.world, session_id=name, complete=complete))

    @contextmanager
    def checked(self) -> Iterator[None]:
        """The sessions are looked at behind it."""
        self.sound = False
        yield
        self._compare()
        self.sound = True

    def _compare(self) -> None:
        for name, expected in self.expected.items():
            k = self.keys.of(name)
            replies = self.servers.node_of(k.session).commands(questions(k, expected))
            expected.compare(look_of(replies, name))

    def _seen(self, call: Call, reply: Any) -> None:
        """A script was executed: what it promised, and what it published."""
        _, _, session_id = call.keys[0].partition(":s:")
        expected = self.expected.get(session_id)
        if expected:
            tell(expected, call, reply, self.servers.now_ms)
        head = len(expected.events) if expected else 0
        by = interruption_of(call, reply)
        if expected and by:
            expected.interruption_begins(by, self.servers.now_ms)
        for channel, payload in self.servers.heard(call.keys[0]):
            self._publish(channel.decode(), payload, by)
        if expected and call.script == "next" and reply[0] == b"buried":
            stage: Any = call.args[3]
            expected.gave_up_mail(stage, str(call.args[4]), told=len(expected.events) > head)
        if expected and by:
            k = self.keys.of(session_id)
            boxes = [("XRANGE", k.mail("agent"), "-", "+"), ("XRANGE", k.mail("tts"), "-", "+")]
            waiting, to_speak = map(turns_of, self.servers.node_of(k.session).commands(boxes))
            expected.interruption_ends(by, waiting, to_speak)

    def _publish(self, channel: str, payload: bytes, by: Interruption | None) -> None:
        if channel.endswith(":live"):
            name, item = channel.split(":s:")[1][:-5], parse_live(payload)
            self.expected[name].published(item, by, self.servers.now_ms)
            for reader in self.readers:
                if reader.session_id == name:
                    reader.publish(item)
        elif channel.endswith(":bell"):
            for worker in self.workers:
                if channel.endswith(f":ready:{worker.stage}:bell"):
                    worker.words.append((payload.decode(), b""))
        elif ":w:" in channel:
            self._word(channel.split(":w:")[1], payload)

    def _word(self, name: str, payload: bytes) -> None:
        if brought := brought_mail(payload):
            session_id, token, mail_id = brought
            self.expected[session_id].given("tts" if name.startswith("tts") else "agent", mail_id, token)
        for worker in self.workers:
            if worker.name == name:
                worker.words.append(("", payload))


async def _open(calls: FaultyCalls, world: World, session_id: str) -> None:
    await Sessions(calls, world.keys, world.settings, PUBLISH).open(NewSession(), "alice", session_id=session_id)
