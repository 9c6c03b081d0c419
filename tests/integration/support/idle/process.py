"""A service that says its name and waits."""

import os
import signal
import sys


def main() -> None:
    print(os.environ.get("NAME"), file=sys.stderr, flush=True)
    signal.pause()
