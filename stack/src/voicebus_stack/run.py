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

from honcho.manager import Manager
from honcho.printer import Message, Printer

from voicebus_stack.ports import free_port
from voicebus_stack.stack import Service, Stack


class Terminal(Printer):  # type: ignore[misc]  # honcho has no types
    """honcho's printer. When nobody reads any more (`make run | head`, a closed terminal), the stack stops."""

    def write(self, message: Message) -> None:
        """Prints a line of a process."""
        try:
            super().write(message)
        except OSError:
            self.output = sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
            _stop()


class Supervisor(Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager. Told to stop while it still starts, it stops as soon as it knows all its processes."""

    def terminate(self) -> None:
        """Stops all processes."""
        if all("pid" in process for process in self._processes.values()):
            super().terminate()
        else:
            signal.signal(signal.SIGALRM, lambda *_: self.terminate())
            signal.setitimer(signal.ITIMER_REAL, 0.05)


def _stop(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)  # which honcho understands


class FolderInUse(Exception):
    """Another stack has its data there: two Redis servers would write into the same file."""


@contextmanager
def own_folder(folder: Path) -> Iterator[None]:
    """The folder, made if need be, is this stack's while inside, and while any process of its honcho lives.

    Raises:
        FolderInUse: another stack has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderInUse(f"another stack runs in {folder}; stop it, or name another folder with --data") from error
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
    manager = Supervisor(Terminal(sys.stdout))
    signal.signal(signal.SIGHUP, _stop)
    for service in services:
        manager.add_process(service.name, service.shell(log), env=service.environment)
    manager.add_process(announcer.name, announcer.shell(), env=announcer.environment)
    manager.loop()
    code = manager.returncode or 0
    return 0 if code in {130, 143} else code


def pick_port(wanted: int) -> int:
    """The wanted port of 127.0.0.1, or a free one if it is taken."""
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
    parser.add_argument("--port", type=int, default=8000, help="of the gateway; a free one if it is taken")
    parser.add_argument("--engines", choices=("default", "instant"), default="default")
    parser.add_argument("--mcp", type=Path, metavar="FILE", help="your MCP servers, as mcpServers JSON")
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
    except FolderInUse as error:
        print(f"run: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    main()
