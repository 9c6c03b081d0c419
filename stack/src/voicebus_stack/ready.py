"""Waits until every process of a stack is ready, then says so, and stays: `python -m voicebus_stack.ready`.

It is one of the supervised processes, so that its words stand among the others' in the terminal.
"""

import argparse
import signal
import time
import urllib.error
import urllib.request

from voicebus_stack.tokens import make_token


def is_ready(port: int) -> bool:
    """Whether `/readyz` on this port of 127.0.0.1 answers 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_until_ready(ports: list[int], *, timeout_s: float) -> None:
    """Returns when all are ready.

    Raises:
        TimeoutError: some were not in time.
    """
    until = time.monotonic() + timeout_s
    waiting = list(ports)
    while waiting:
        waiting = [port for port in waiting if not is_ready(port)]
        if waiting and time.monotonic() > until:
            raise TimeoutError(f"not ready on port {', '.join(map(str, waiting))} after {timeout_s:.0f} s")
        time.sleep(0.1 if waiting else 0)


def main() -> None:
    """Announces the stack, then waits for the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--since", required=True, type=float, help="when the start began, on the monotonic clock")
    parser.add_argument("--ports", required=True, type=int, nargs="+")
    arguments = parser.parse_args()
    wait_until_ready(arguments.ports, timeout_s=60)
    token = make_token(arguments.secret, "developer")
    print(f"ready after {time.monotonic() - arguments.since:.1f} s")
    print(f"url    {arguments.url}")
    print(f"token  {token}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
