"""What comes along with a worker's wake-up, so that it need not ask Redis."""

import asyncio
from collections.abc import Sequence

import pytest
from integration.bus.leases import a_lease, a_speaker
from support.sessions import open_session

from voicebus.bus.bus import Bus
from voicebus.bus.emission import Emission
from voicebus.bus.link import Link
from voicebus.bus.wire import Reply
from voicebus.contract.audio import AudioSpec
from voicebus.contract.mail import Sentence, UserTurn


class Heard:
    """Words for a worker."""

    def __init__(self) -> None:
        self._words: list[bytes] = []
        self._some = asyncio.Event()

    def messages(self, payloads: Sequence[bytes]) -> None:
        self._words += payloads
        self._some.set()

    def lost(self) -> None:
        pass

    async def words(self, count: int) -> list[bytes]:
        async with asyncio.timeout(5):
            while len(self._words) < count:
                self._some.clear()
                await self._some.wait()
        return self._words


class Asked:
    """What this process asks Redis about one session."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def how_often(self, command: str, session_id: str) -> int:
        """This command; `EVALSHA` is every script."""
        return sum(command.encode() in each and session_id.encode() in each for each in self.commands)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked, exchange = Asked(), Link.exchange

    async def noted(link: Link, commands: Sequence[bytes]) -> list[Reply]:
        asked.commands += commands
        return await exchange(link, commands)

    monkeypatch.setattr(Link, "exchange", noted)
    return asked


async def test_a_lone_sentence_comes_along_with_the_wake_up_and_is_given_once(bus: Bus, asked: Asked) -> None:
    session_id = await open_session(bus, "hello")
    speaker, heard = await a_speaker(bus, session_id), Heard()
    agent = await a_lease(bus, session_id)
    async with bus.subscriptions.listening(bus.keys.worker(bus.keys.partition(session_id), "t1"), heard):
        first, second, third = (Sentence(turn=1, response_id="r1", segment=n, text=f"Number {n}.") for n in range(3))
        await agent.emit(Emission(1, "r1").begin().sentence(first).sentence(second))
        brought, woken = await heard.words(2)
        assert brought.startswith(b"mail|")
        assert woken == b"wake|%s|" % session_id.encode()
        speaker.bring(brought.split(b"|", 2)[2])
        calls_before = asked.how_often("EVALSHA", session_id)
        delivery = await speaker.next()
        assert delivery is not None
        assert (delivery.mail, delivery.attempt) == (first, 1)
        assert asked.how_often("EVALSHA", session_id) == calls_before

        speaker.bring(brought.split(b"|", 2)[2])  # again, and late
        await speaker.emit(Emission(1, "r1").cursor(delivery.id))
        more_waited = speaker.more
        following = await speaker.next()
        assert following is not None
        assert (following.mail, more_waited) == (second, True)
        await speaker.emit(Emission(1, "r1").cursor(following.id))
        assert not speaker.more

        await agent.emit(Emission(1, "r1").sentence(third))
        brought = (await heard.words(3))[-1]
        token = speaker.token.encode()
        speaker.bring(brought.split(b"|", 2)[2].replace(token, b"9." + token.split(b".")[1]))
        calls_before = asked.how_often("EVALSHA", session_id)
        delivery = await speaker.next()
        assert delivery is not None
        assert (delivery.mail, delivery.attempt) == (third, 1)  # counted by the script that brought it
        assert asked.how_often("EVALSHA", session_id) == calls_before + 1  # what came for another lease is not taken


async def test_a_lone_turn_comes_along_with_all_that_the_agent_needs(bus: Bus, asked: Asked) -> None:
    session_id = await open_session(bus, "hello")
    agent, heard = await a_lease(bus, session_id), Heard()
    delivery = await agent.next()
    assert delivery is not None
    await agent.emit(Emission(1).history(b'{"turn":1}', keep=50).answered(1).cursor(delivery.id))
    async with bus.subscriptions.listening(bus.keys.worker(bus.keys.partition(session_id), "w1"), heard):
        await bus.inbox.submit(session_id, "and again", agent_type="personal")
        [brought] = await heard.words(1)
        agent.bring(brought.split(b"|", 2)[2])
        calls_before = asked.how_often("EVALSHA", session_id)
        given = await agent.next()
        assert asked.how_often("EVALSHA", session_id) == calls_before
        await agent.hand_over()
        read = await (await a_lease(bus, session_id)).next()
        assert given is not None
        assert read is not None
        assert isinstance(given.mail, UserTurn)
        assert (given.mail.content, given.history) == ("and again", [b'{"turn":1}'])
        assert given == read


async def test_a_turn_with_a_very_long_history_is_asked_for(bus: Bus) -> None:
    session_id = await open_session(bus, "hello")
    agent, heard = await a_lease(bus, session_id), Heard()
    delivery = await agent.next()
    assert delivery is not None
    await agent.emit(Emission(1).history(bytes(300_000), keep=50).answered(1).cursor(delivery.id))
    async with bus.subscriptions.listening(bus.keys.worker(bus.keys.partition(session_id), "w1"), heard):
        await bus.inbox.submit(session_id, "and again", agent_type="personal")
        assert await heard.words(1) == [b"wake|%s|" % session_id.encode()]
        given = await agent.next()
        assert given is not None
        assert given.attempt == 1


async def test_a_stop_brings_the_last_mails_for_who_has_read_the_rest(bus: Bus, asked: Asked) -> None:
    session_id = await open_session(bus)
    await bus.inbox.audio_start(session_id, "c1", "m1", AudioSpec(format="pcm16"), 0)
    heard = Heard()
    async with bus.subscriptions.listening(bus.keys.worker(bus.keys.partition(session_id), "s1"), heard):
        lease = await bus.stages("stt", "s1").lease(session_id)
        assert lease is not None
        for offset in range(0, 800, 100):
            await bus.inbox.audio(session_id, "c1", "m1", offset, bytes(100))
        await bus.inbox.audio_stop(session_id, "c1", "m1")
        all_mail = await lease.mail_after("0-0")
        [brought] = await heard.words(1)
        tail = brought.removeprefix(b"tail|%s|" % session_id.encode())

        async def read(after: int, *, woken: bool = False) -> tuple[int, bool]:
            """How many mails come behind the one at this index, and whether Redis was asked."""
            lease.bring_tail(tail)
            if woken:
                lease.woken()
            calls_before = asked.how_often("XRANGE", session_id)
            mails = await lease.mail_after(all_mail[after][0])
            assert mails == all_mail[after + 1 :]
            return len(mails), asked.how_often("XRANGE", session_id) > calls_before

        assert len(all_mail) == 10
        assert await read(8) == (1, False)
        assert await read(6) == (3, False)
        assert await read(5) == (4, True)  # the mail behind it did not come along
        assert await read(8, woken=True) == (1, True)
