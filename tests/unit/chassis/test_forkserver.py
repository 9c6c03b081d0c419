import socket

from hypothesis import given
from hypothesis import strategies as st

from voicebus.chassis.forkserver import message, messages

MESSAGES = st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.binary(max_size=300)), max_size=5)


def received(data: bytes) -> list[tuple[bytes, bytes]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        return list(messages(theirs))


@given(MESSAGES)
def test_messages_come_as_they_were_sent(sent: list[tuple[bytes, bytes]]) -> None:
    assert received(b"".join(message(kind, content) for kind, content in sent)) == sent


def test_a_message_that_was_cut_off_does_not_come() -> None:
    whole, cut = message(b"a", b"whole"), message(b"b", b"cut off")
    for length in range(len(cut)):
        assert received(whole + cut[:length]) == [(b"a", b"whole")]
