"""Moments at which clients act together."""

import socket
from collections.abc import AsyncIterator

import pytest
from support.process_tree import until

from gateway.ticks import TICK_S, Ticks, tick_s


class Client:
    """Reads a socket, and notes its failures."""

    def __init__(self, ticks: Ticks) -> None:
        self.here, self.there = socket.socketpair()
        self.ticks = ticks
        self.came: list[bytes] = []
        self.sent: list[bytes] = []
        self.failures = 0
        self.cannot_fail = False
        ticks.add(self.here.fileno(), self, self.read)

    def read(self) -> None:
        data = self.here.recv(100)
        if data == b"bad":
            raise ValueError
        self.came.append(data)
        self.ticks.act((self, self.send))

    def send(self) -> None:
        self.sent.append(self.came[-1])

    def fail(self) -> None:
        self.failures += 1
        if self.cannot_fail:
            raise KeyError


@pytest.fixture
async def clients() -> AsyncIterator[tuple[Client, Client]]:
    ticks = Ticks()
    both = Client(ticks), Client(ticks)
    yield both
    ticks.close()
    for client in both:
        client.here.close()
        client.there.close()


async def test_what_comes_between_two_ticks_is_read_and_sent_on_at_the_same_one(clients: tuple[Client, Client]) -> None:
    one, other = clients
    one.there.send(b"a")
    one.there.send(b"b")
    other.there.send(b"c")
    assert one.came == []
    await until(lambda: bool(one.came))
    assert (one.came, one.sent, other.came, other.sent) == ([b"ab"], [b"ab"], [b"c"], [b"c"])


@pytest.mark.parametrize("cannot_fail", [False, True])
async def test_who_fails_keeps_nobody_from_being_read(clients: tuple[Client, Client], cannot_fail: bool) -> None:
    bad, good = clients
    bad.cannot_fail = cannot_fail
    bad.there.send(b"bad")
    good.there.send(b"good")
    await until(lambda: bool(good.sent))
    assert (bad.failures, good.failures) == (1, 0)
    good.there.send(b"more")
    await until(lambda: len(good.sent) == 2)


async def test_who_was_removed_is_not_read(clients: tuple[Client, Client]) -> None:
    gone, here = clients
    gone.there.send(b"a")
    gone.ticks.remove(gone.here.fileno())
    gone.here.close()
    here.there.send(b"b")
    await until(lambda: bool(here.sent))
    assert gone.came == []


async def test_who_leaves_behind_the_last_tick_leaves(clients: tuple[Client, Client]) -> None:
    ticks = clients[0].ticks
    ticks.close()
    for client in clients:
        ticks.remove(client.here.fileno())


async def test_there_are_no_ticks_while_nobody_speaks(clients: tuple[Client, Client]) -> None:
    client, other = clients
    ticks = client.ticks
    client.there.send(b"a")
    await until(lambda: bool(client.sent))
    assert ticks._next is not None
    for each in (client, other):
        ticks.remove(each.here.fileno())
    await until(lambda: ticks._next is None)
    ticks.act((client, client.send))
    await until(lambda: len(client.sent) == 2)


def test_where_few_speak_they_are_read_sooner() -> None:
    assert [tick_s(sockets) for sockets in (0, 50, 200, 400, 10_000)] == [0.001, 0.001, TICK_S / 2, TICK_S, TICK_S]
