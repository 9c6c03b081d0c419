"""`make faults-mutants`: one way to break what each scenario watches, which only shows when something goes wrong."""

import re

from faults import mutants_capacity, mutants_delivery, mutants_redis, mutants_turns
from mutants.mutant import Mutant, Suite

_HERE = "tests/faults"

SUITE = Suite(
    (
        Mutant(
            "resume-from-head",
            "a client that comes back gets what it missed",
            "services/gateway/src/gateway/outgoing.py",
            "start = asked or session.position",
            "start = session.position if asked and asked.seq > 2 else asked or session.position",
            (f"{_HERE}/test_gateway_kill.py",),
        ),
        *mutants_delivery.MUTANTS,
        *mutants_redis.MUTANTS,
        *mutants_turns.MUTANTS,
        *mutants_capacity.MUTANTS,
    ),
    evidence=re.compile(r"AssertionError: .*: lost \d+ repeated \d+ misplaced \d+"),
    environment={"FAULTS": "small", "SOAK_MINUTES": "0.5"},
    calm=(f"{_HERE}/test_calm.py", f"{_HERE}/test_calm_turns.py"),
)
