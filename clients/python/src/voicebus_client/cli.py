"""The command line: `python -m voicebus_client`.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no gateway answers, 130 interrupted.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from voicebus_client.chat import chat
from voicebus_client.client import Voicebus
from voicebus_client.errors import Unreachable, VoicebusError
from voicebus_client.position import Position
from voicebus_client.say import say
from voicebus_client.settings import read_settings
from voicebus_client.tail import tail
from voicebus_client.terminal import Terminal
from voicebus_client.wav import read_wav

DONE, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    terminal = Terminal()
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_run(options, terminal))
    except KeyboardInterrupt:
        return INTERRUPTED
    except ExceptionGroup as group:
        return _failed(terminal, _first(group))
    except (VoicebusError, ValueError, OSError) as error:
        return _failed(terminal, error)
    return DONE


async def _run(options: argparse.Namespace, terminal: Terminal) -> None:
    _wake_up_for_ctrl_c()
    settings = read_settings(options.url, options.token)
    async with Voicebus(settings.url, settings.token) as bus:
        match options.command:
            case "chat":
                await chat(bus, terminal, sys.stdin, session_id=options.session, patience_s=options.patience)
            case "say":
                await say(
                    bus,
                    terminal,
                    read_wav(options.wav),
                    session_id=options.session,
                    save=options.save,
                    patience_s=options.patience,
                )
            case _:
                await tail(bus, terminal, options.session, options.after)


def _wake_up_for_ctrl_c() -> None:
    """`asyncio.run` overlooks a signal that comes just before its loop goes to sleep, until something else wakes it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is not signal.SIG_IGN:
        with suppress(NotImplementedError, RuntimeError):  # loops on Windows wake up; other threads get none
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
            signal.signal(signal.SIGINT, handler)


def _nobody_reads() -> int:
    """Nothing can be told any more, nor at the interpreter's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("voicebus_client", description="Talk to a Voicebus gateway.")
    parser.add_argument("--url", help="the gateway (default: VOICEBUS_URL, else http://127.0.0.1:8000)")
    parser.add_argument("--token", help="the JSON Web Token (default: VOICEBUS_TOKEN)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    chat_ = commands.add_parser("chat", help="a conversation in writing")
    say_ = commands.add_parser("say", help="speak a WAV file and hear the answer")
    say_.add_argument("wav", type=Path, help="PCM of 16 bits, any rate")
    say_.add_argument("--save", type=Path, metavar="FILE", help="save the answer's speech as a WAV file")
    for command in (chat_, say_):
        command.add_argument("--session", metavar="ID", help="an existing session (default: a new one)")
        command.add_argument(
            "--patience", type=float, default=30.0, metavar="S", help="seconds to wait for an answer (30)"
        )

    tail_ = commands.add_parser("tail", help="follow a session's events")
    tail_.add_argument("session", metavar="SESSION")
    tail_.add_argument(
        "--after",
        type=Position.parse,
        metavar="POSITION",
        help="from here on: a seq (0: all that is kept) or epoch:seq:speech (default: from now on)",
    )
    return parser


def _failed(terminal: Terminal, error: BaseException) -> int:
    if isinstance(error, BrokenPipeError):
        return _nobody_reads()
    if not isinstance(error, VoicebusError | ValueError | OSError):
        raise error
    code = f"{error.code}: " if isinstance(error, VoicebusError) else ""
    terminal.note(f"voicebus: {code}{error}")
    return UNREACHABLE if isinstance(error, Unreachable) else FAILED


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
