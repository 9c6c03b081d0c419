"""`make run`: every service in the foreground, logs in colour, Ctrl-C stops all."""

import argparse
import fcntl
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from honcho import manager as honcho
from honcho.printer import Message, Printer

from voicebus_stack.arguments import existing_file, port_number
from voicebus_stack.ports import free_port
from voicebus_stack.stack import Service, Stack

_NEEDED: Final = ("redis", "toolbox")
_KILL_AFTER_S: Final = 8  # the agent worker takes 6 to stop an MCP server that won't end


class Terminal(Printer):  # type: ignore[misc]  # honcho has no types
    """honcho's printer. When nobody reads any more (`make run | head`, a closed terminal), the stack stops."""

    def write(self, message: Message) -> None:
        """Prints a line of a process."""
        try:
            super().write(message)
        except OSError:
            self.output = sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
            _stop()


class Supervisor(honcho.Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager. What the other processes need until they have ended is stopped last.

    Told to stop while it still starts, it stops as soon as it knows all its processes.
    """

    _told = False

    def terminate(self) -> None:
        """Stops all processes."""
        users = {name: process for name, process in self._processes.items() if name not in _NEEDED}
        if all("returncode" in process for process in users.values()):
            super().terminate()
            return
        if not self._told and all("pid" in process for process in self._processes.values()):
            self._told = True
            for name, process in users.items():
                if "returncode" not in process:
                    self._system_print(f"sending SIGTERM to {name} (pid {process['pid']})\n")
                    self._procmgr.terminate(process["pid"])
        signal.signal(signal.SIGALRM, lambda *_: self.terminate())
        signal.setitimer(signal.ITIMER_REAL, 0.05)


def _stop(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # which honcho understands


class FolderUnusable(Exception):
    """No stack can have its data there, or another one has: two Redis servers would write into the same file."""


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """The folder, made if need be, is this stack's while inside, and while any process of its honcho lives.

    Raises:
        FolderUnusable: it can't be made or written, or another stack has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as error:
        raise FolderUnusable(f"{folder} can't hold a stack's data: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderUnusable(
                f"another stack runs in {folder}; stop it, or name another folder with --data"
            ) from error
        yield


def supervise(stack: Stack, log: Path | None = None, *, began_s: float) -> int:
    """Runs the stack until it is told to stop or one of its processes ends; returns the exit code.

    With `log`, what the services say goes to that file. `began_s`, on the monotonic clock, is where the start-up that
    is announced counts from.
    """
    services = stack.services()
    ports = [str(service.health_port) for service in services if service.health_port]
    ready = [
        sys.executable,
        "-m",
        "voicebus_stack.ready",
        "--url",
        stack.url,
        f"--secret={stack.secret}",
        f"--since={began_s}",
        "--ports",
        *ports,
    ]
    announcer = Service("voicebus", ready, dict(os.environ) | {"PYTHONUNBUFFERED": "1"})
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    plain = {} if coloured and log is None else {"NO_COLOR": "1"}
    honcho.KILL_WAIT = _KILL_AFTER_S
    manager = Supervisor(Terminal(sys.stdout, colour=coloured))
    signal.signal(signal.SIGHUP, _stop)
    for service in services:
        manager.add_process(service.name, service.shell(log), env=service.environment | plain)
    manager.add_process(announcer.name, announcer.shell(), env=announcer.environment)
    manager.loop()
    code = int(manager.returncode or 0)
    if code in {130, 143}:  # it was told to
        return 0
    return 128 - code if code < 0 else code


def pick_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1, or a free one if it is taken or 0."""
    if wanted == 0:
        return free_port()
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return free_port()
    return wanted


def main() -> None:
    """The command."""
    began_s = time.monotonic()
    parser = argparse.ArgumentParser(prog="make run ARGS=…", description=__doc__)
    parser.add_argument("--port", type=port_number, default=8000, help="of the gateway; a free one if it is taken")
    parser.add_argument("--engines", choices=("default", "instant"), default="default")
    parser.add_argument("--mcp", type=existing_file, metavar="FILE", help="your MCP servers, as mcpServers JSON")
    parser.add_argument("--data", type=Path, default=Path("out/run"), help="where Redis keeps its data")
    parser.add_argument("--log", type=Path, metavar="FILE", help="the services write there, not to the terminal")
    arguments = parser.parse_args()
    stack = Stack(
        folder=arguments.data.resolve(),
        port=pick_port(arguments.port),
        engines=arguments.engines,
        mcp_config=arguments.mcp,
        dev_mode=True,
        secret=os.environ.get("JWT_SECRET") or secrets.token_urlsafe(32),
    )
    try:
        with own_folder(stack.folder):
            code = supervise(stack, arguments.log and arguments.log.resolve(), began_s=began_s)
    except FolderUnusable as error:
        print(f"run: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
