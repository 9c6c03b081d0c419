"""Ctrl-C with a meaning of its own."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_ctrl_c(takes: Callable[[], bool], then: Callable[[], None]) -> Iterator[None]:
    """While inside, a Ctrl-C that `takes` accepts makes the running loop call `then`; others do what they did before.

    `takes` is asked at once, whatever the program is waiting for.
    """
    before = signal.getsignal(signal.SIGINT)
    loop = asyncio.get_running_loop()

    def handle(number: int, frame: FrameType | None) -> None:
        if takes():
            loop.call_soon_threadsafe(then)
        elif callable(before):
            before(number, frame)

    if not callable(before) or threading.current_thread() is not threading.main_thread():  # ignored, or not ours
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
