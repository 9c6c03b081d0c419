"""Writes an installation's secrets into volumes, random ones at the first start: `python make_secrets.py FOLDER`.

What the environment says goes before what is there. Each folder is a volume of its own, so that a service is given the
secrets that it needs and no others; whoever is given one may read it, whatever its user.
"""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

MADE = {"jwt/secret": "JWT_SECRET", "redis/password": "REDIS_PASSWORD", "grafana/password": "GRAFANA_PASSWORD"}
PREVIOUS = ("jwt/previous", "JWT_SECRET_PREVIOUS")  # empty where there is none
_USABLE = re.compile(r"[!#-&(-\[\]-~]*")  # what needs no quoting in redis.conf: no space, quote or backslash


class Unusable(ValueError):
    """A secret that the environment gives can't be used; the message says which and why."""


def make_secrets(folder: Path, environ: Mapping[str, str]) -> list[str]:
    """Writes what is missing or new; returns a line for each secret that says where it comes from.

    Raises:
        Unusable: nothing was written.
    """
    for variable in (*MADE.values(), PREVIOUS[1]):
        if not _USABLE.fullmatch(environ.get(variable, "")):
            raise Unusable(f"{variable}: only printable ASCII, without spaces, quotes and backslashes")
    told = [f"{name}: {_provide(folder / name, environ.get(variable, ''))}" for name, variable in MADE.items()]
    _write(folder / PREVIOUS[0], environ.get(PREVIOUS[1], ""))
    _write(folder / "redis" / "redis.conf", f"requirepass {(folder / 'redis' / 'password').read_text()}\n")
    return told


def _provide(file: Path, given: str) -> str:
    if given:
        _write(file, given)
        return "as the environment says"
    if file.exists():
        return "kept"
    _write(file, secrets.token_hex(32))
    return "made"


def _write(file: Path, text: str) -> None:
    """Whole or not at all, also when the process is killed."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with new.open("w", encoding="ascii") as writer:
        writer.write(text)
        writer.flush()
        os.fsync(writer.fileno())
    new.chmod(0o444)
    new.replace(file)


if __name__ == "__main__":
    try:
        print(*make_secrets(Path(sys.argv[1]), os.environ), sep="\n")
    except Unusable as error:
        sys.exit(str(error))
