"""Runs a service whose event loop hangs for some seconds at SIGUSR1: `python hanging.py MODULE SECONDS`."""

import runpy
import signal
import sys
import time

MODULE, SECONDS = sys.argv[1], float(sys.argv[2])

# Python runs the handler in the main thread, between two steps of the loop, which stands still meanwhile.
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(SECONDS))
sys.argv = [MODULE]
runpy.run_module(MODULE, run_name="__main__", alter_sys=True)
