"""`make faults-mutants`: one way to break what each scenario watches, which only shows when something goes wrong."""

import re

from mutants.mutant import Mutant, Suite

_HERE = "tests/faults"
_KILL = (f"{_HERE}/test_gateway_kill.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "resume-from-head",
        "a client that comes back gets what it missed",
        "services/gateway/src/gateway/websocket.py",
        "start = asked or session.position",
        "start = session.position if asked and asked.seq > 2 else asked or session.position",
        _KILL,
    ),
)
SUITE = Suite(
    MUTANTS,
    evidence=re.compile(r"AssertionError: .*: lost \d+ repeated \d+ misplaced \d+"),
    calm=(f"{_HERE}/test_calm.py",),
)
