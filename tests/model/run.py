"""Runs a machine for some time."""

import time
from collections.abc import Iterator, Sequence
from itertools import count, cycle

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from model.faults import Servers
from model.machine import BusMachine

EXAMPLES = 20  # in a row; then the time is looked at
RULES = 60  # in an example


def run(
    servers: Servers, machines: Sequence[type[BusMachine]], *, first_seed: int, seconds: float, shrink: bool
) -> float:
    """Runs the machines in turns on these servers; how many seconds it took.

    Raises:
        Violation: the bus broke a promise; with `shrink` by the shortest way that was found within five minutes.
    """
    began = time.monotonic()
    for number, machine in _until(began + seconds, machines):
        of_servers = type(machine.__name__, (machine,), {"servers": servers})
        run_state_machine_as_test(
            seed(first_seed + number)(of_servers),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=RULES,
                deadline=None,
                database=None,
                report_multiple_bugs=False,
                phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
                suppress_health_check=list(HealthCheck),
            ),
        )
    return time.monotonic() - began


def _until(end: float, machines: Sequence[type[BusMachine]]) -> Iterator[tuple[int, type[BusMachine]]]:
    for number, machine in zip(count(), cycle(machines), strict=False):
        if time.monotonic() >= end:
            return
        yield number, machine
