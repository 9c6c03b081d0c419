"""Nothing is collected while a process starts, and all is once it works."""

import subprocess
import sys

PROGRAM = """
import gc, sys, types
from voicebus.chassis.starting import run, started

def main():
    print(gc.isenabled())
    started()
    print(gc.isenabled(), gc.get_freeze_count() > 0)

started()
print(gc.isenabled(), gc.get_freeze_count())
service = types.ModuleType("service")
service.main = main
sys.modules["service"] = service
run("service")
"""


def test_what_a_process_makes_while_it_starts_is_not_looked_through() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True, timeout=20)
    assert said.stdout.splitlines() == ["True 0", "False", "True True"]
