"""Ports that are given out: each to one process, once, and none that is in use."""

import socket
import subprocess
import sys
from contextlib import ExitStack

from voicebus_stack.ports import free_port

_EACH = 100  # more than a block
_TAKE = f"""
from voicebus_stack.ports import free_port
print(*(free_port() for _ in range({_EACH})), flush=True)
input()
"""


def test_each_port_is_given_out_once_among_all_processes_that_live() -> None:
    with ExitStack() as stack:
        others = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(3)
        ]
        taken = [free_port() for _ in range(_EACH)]
        for other in others:
            assert other.stdout
            taken += map(int, other.stdout.readline().split())
        for other in others:
            other.communicate("\n")
    assert len(set(taken)) == len(taken) == 4 * _EACH


def test_a_port_in_use_is_not_given_out() -> None:
    port = free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port + 1))
        assert free_port() != port + 1
