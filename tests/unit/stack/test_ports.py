"""Ports that are given out: each to one process, once, and none that is in use."""

import socket
import subprocess
import sys
from contextlib import ExitStack

from voicebus_stack.ports import free_port

_PROCESSES, _EACH = 4, 1_500  # together more than half of all: without an agreement they would meet
_TAKE = f"""
from voicebus_stack.ports import free_port
print(*(free_port() for _ in range({_EACH})), flush=True)
input()
"""


def test_each_port_is_given_out_once_among_all_processes_that_live() -> None:
    taken: list[int] = []
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(_PROCESSES)
        ]
        for process in processes:
            assert process.stdout
            taken += map(int, process.stdout.readline().split())
        for process in processes:
            process.communicate("\n")
    assert len(set(taken)) == len(taken) == _PROCESSES * _EACH


def test_a_port_in_use_is_not_given_out() -> None:
    port = free_port()
    with socket.socket() as server:
        server.bind(("127.0.0.1", port + 1))
        assert free_port() != port + 1
