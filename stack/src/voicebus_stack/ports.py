"""Ports of 127.0.0.1 for servers, given out so that processes which know nothing of each other never get the same."""

import random
import socket
from collections.abc import Iterator
from contextlib import suppress
from threading import Lock
from typing import Final

_BLOCKS: Final = range(20_000, 29_984, 64)  # where each begins; the kernel gives out others by itself
_lock = Lock()


def free_port() -> int:
    """A port that nobody listens on. Nobody else gets it while this process lives, and this process gets it once.

    So a server may be started at it later, and again when it has ended.

    Raises:
        OSError: none is left.
    """
    with _lock:
        port = next(_free_ports, None)
    if port is None:
        raise OSError("no port of 127.0.0.1 is left")
    return port


def _ports_of_this_process() -> Iterator[int]:
    for first in random.SystemRandom().sample(_BLOCKS, len(_BLOCKS)):
        if mark := _bound(first, socket.SOCK_DGRAM):  # a block belongs to whoever has its first port for UDP
            mark.detach()  # and stays open: until the process ends
            for port in range(first, first + _BLOCKS.step):
                if probe := _bound(port, socket.SOCK_STREAM):
                    probe.close()
                    yield port


def _bound(port: int, kind: socket.SocketKind) -> socket.socket | None:
    """A socket at this port; None if there is one already."""
    bound = socket.socket(type=kind)
    with suppress(OSError):
        bound.bind(("127.0.0.1", port))
        return bound
    bound.close()
    return None


_free_ports = _ports_of_this_process()
