"""A microphone's bytes: which go by a tick, which by a task, and what their sender is told."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from gateway.microphone import Microphone
from gateway.ticks import Act
from voicebus.bus.inbox import AudioOpened, Inbox
from voicebus.bus.lane import Addressee, PartKeys
from voicebus.contract.commands import AudioStart
from voicebus.contract.errors import BusUnavailable, Refused, VoicebusError


class Stt:
    """Stands for the inbox: keeps what comes, once, and answers when it is told to."""

    def __init__(self) -> None:
        self.kept = b""
        self.flying: list[tuple[Addressee, bytes]] = []

    async def audio_number(self, *_: Any) -> int:
        return 1

    async def audio_start(self, *_: Any) -> AudioOpened:
        return AudioOpened(done=False, expected=0, seq=0)

    def audio_keys(self, _session: str) -> PartKeys:
        return PartKeys.of()

    def send_audio(
        self, to: Addressee, _keys: PartKeys, _connection: str, _stream: str, offset: int, data: bytes
    ) -> None:
        self._keep(offset, data)
        self.flying.append((to, b"%d" % len(self.kept)))

    async def audio(self, _session: str, _connection: str, _stream: str, offset: int, data: bytes) -> int:
        self._keep(offset, data)
        return len(self.kept)

    def _keep(self, offset: int, data: bytes) -> None:
        assert offset <= len(self.kept)
        self.kept += data[len(self.kept) - offset :]

    def answer(self, word: bytes = b"ok") -> None:
        answer, safe = self.flying.pop(0)
        answer.set_result([word, int(safe)])


class Owner:
    """What a connection does for its microphone."""

    def __init__(self) -> None:
        self.tasks = set[asyncio.Task[None]]()
        self.ticks: list[Act] = []
        self.told: list[int] = []
        self.complaints: list[str] = []
        self.failures: list[VoicebusError] = []
        self.paid_ms = 0
        self.poor = False
        self.reads = True
        self.late: list[Act] = []

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._run(work))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except VoicebusError as error:
            self.failures.append(error)

    def soon(self, act: Act) -> None:
        self.ticks.append(act)

    def later(self, act: Act) -> None:
        self.late.append(act)

    def fail(self) -> None:
        raise AssertionError

    def while_passes(self) -> None:
        late, self.late = self.late, []
        for _, act in late:
            act()

    def acknowledge_now(self, _stream: str, offset: int) -> bool:
        if self.reads:
            self.told.append(offset)
        return self.reads

    def tick(self) -> None:
        ticks, self.ticks = self.ticks, []
        for _, act in ticks:
            act()

    async def acknowledge(self, _stream: str, offset: int) -> None:
        self.told.append(offset)

    async def complain(self, error: VoicebusError) -> None:
        self.complaints.append(error.code)

    async def pay(self, _stream: str, _from_ms: int, to_ms: int) -> None:
        if self.poor:
            raise Refused("too_much_audio")
        self.paid_ms = to_ms


@pytest.fixture
def stt() -> Stt:
    return Stt()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
async def microphone(stt: Stt, owner: Owner) -> Microphone:
    microphone = Microphone(
        cast("Inbox", stt),
        "s",
        owner,
        acknowledge=owner.acknowledge,
        acknowledge_now=owner.acknowledge_now,
        complain=owner.complain,
        pay=owner.pay,
        start=owner.start,
        soon=owner.soon,
        later=owner.later,
    )
    await microphone.start(AudioStart(stream="a", format="pcm16", id="1"))
    owner.told.clear()
    return microphone


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happened():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)


async def test_what_comes_within_a_tick_goes_together_without_a_task(
    microphone: Microphone, stt: Stt, owner: Owner
) -> None:
    for data in (b"ab", b"cd", b"ef"):
        assert microphone.take(data)
    assert (len(owner.ticks), stt.kept) == (1, b"")
    owner.tick()
    assert (stt.kept, len(stt.flying), owner.tasks) == (b"abcdef", 1, set())
    assert microphone.take(b"gh")
    owner.tick()  # the reply is not there yet
    assert len(stt.flying) == 1
    stt.answer()
    owner.tick()
    stt.answer()
    assert (owner.told, owner.tasks) == ([], set())
    owner.while_passes()
    assert (owner.told, owner.tasks) == ([8], set())
    assert stt.kept == b"abcdefgh"


async def test_who_does_not_read_now_is_told_by_a_task(microphone: Microphone, stt: Stt, owner: Owner) -> None:
    owner.reads = False
    assert microphone.take(b"ab")
    owner.tick()
    stt.answer()
    owner.while_passes()
    await until(lambda: owner.told == [2])


@pytest.mark.parametrize(("word", "code"), [(b"taken", "audio_taken_over"), (b"closed", "audio_not_open")])
async def test_bytes_that_a_tick_saw_refused_are_sent_again_by_a_task_which_complains(
    microphone: Microphone, stt: Stt, owner: Owner, monkeypatch: pytest.MonkeyPatch, word: bytes, code: str
) -> None:
    async def refuse(*_: Any) -> int:
        raise Refused(code)

    monkeypatch.setattr(stt, "audio", refuse)
    assert microphone.take(b"ab")
    owner.tick()
    stt.answer(word)
    await until(lambda: bool(owner.complaints))
    assert (owner.complaints, owner.failures) == ([code], [])
    assert not microphone.take(b"cd")


async def test_a_stream_that_was_full_for_a_moment_loses_nothing(
    microphone: Microphone, stt: Stt, owner: Owner
) -> None:
    assert microphone.take(b"ab")
    owner.tick()
    assert microphone.take(b"cd")
    stt.answer(b"full")
    await until(lambda: stt.kept == b"abcd" and bool(owner.late))
    owner.while_passes()
    assert owner.told == [4]
    assert owner.complaints == []


async def test_a_bus_that_is_away_ends_the_connection(microphone: Microphone, stt: Stt, owner: Owner) -> None:
    assert microphone.take(b"ab")
    owner.tick()
    stt.flying.pop()[0].set_exception(BusUnavailable("away"))
    await until(lambda: bool(owner.failures))
    assert owner.failures[0].code == "bus_unavailable"


async def test_what_is_not_paid_for_does_not_go(microphone: Microphone, stt: Stt, owner: Owner) -> None:
    owner.poor = True
    paid = owner.paid_ms * 32  # bytes
    assert microphone.take(bytes(paid + 2))
    owner.tick()
    await until(lambda: owner.complaints == ["too_much_audio"])
    assert len(stt.kept) == paid
