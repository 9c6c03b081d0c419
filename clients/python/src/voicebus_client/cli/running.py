"""How a command runs, and what it leaves with."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import typer

from voicebus_client.cli.settings import Settings
from voicebus_client.cli.terminal import Terminal
from voicebus_client.client import Voicebus
from voicebus_client.errors import Unreachable, VoicebusError

DONE, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

Work = Callable[[Voicebus, Terminal], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Invocation:
    """What all commands have in common."""

    settings: Settings
    terminal: Terminal


def invocation(ctx: typer.Context) -> Invocation:
    """What was said before the command's name."""
    return ctx.ensure_object(Invocation)


def with_gateway(ctx: typer.Context, work: Work) -> None:
    """Runs the work with a gateway; leaves with the exit code that tells what went wrong."""
    settings, terminal = invocation(ctx).settings, invocation(ctx).terminal

    async def run() -> None:
        _wake_up_for_ctrl_c()
        async with Voicebus(settings.url, settings.token) as bus:
            await work(bus, terminal)

    guarded(terminal, lambda: asyncio.run(run()))


def guarded(terminal: Terminal, work: Callable[[], None]) -> None:
    """Runs the work; leaves with the exit code that tells what went wrong.

    Raises:
        typer.Exit: something did.
    """
    try:
        work()
    except KeyboardInterrupt:
        code = INTERRUPTED
        with suppress(OSError):
            terminal.fresh()
    except ExceptionGroup as group:
        code = _failed(terminal, _first(group))
    except (VoicebusError, ValueError, OSError) as error:
        code = _failed(terminal, error)
    else:
        return
    raise typer.Exit(code)


def _wake_up_for_ctrl_c() -> None:
    """`asyncio.run` overlooks a signal that comes just before its loop goes to sleep, until something else wakes it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.SIG_IGN:
        with suppress(NotImplementedError, RuntimeError):  # loops on Windows wake up; other threads get none
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
            signal.signal(signal.SIGINT, handler)


def _failed(terminal: Terminal, error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        return _nobody_reads()
    if not isinstance(error, VoicebusError | ValueError | OSError):
        raise error
    code = f"{error.code}: " if isinstance(error, VoicebusError) else ""
    try:
        terminal.note(f"voicebus: {code}{error}", "red")
    except BrokenPipeError:
        return _nobody_reads()
    return UNREACHABLE if isinstance(error, Unreachable) else FAILED


def _nobody_reads() -> int:
    """Nothing can be told any more, nor at the interpreter's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return FAILED


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
