"""The Lua scripts as Redis knows them: by the SHA-1 of their text."""

import hashlib
from functools import cache
from importlib.resources import files
from typing import Literal, get_args

ScriptName = Literal[
    "open",
    "close",
    "submit",
    "configure",
    "audio_start",
    "audio",
    "audio_stop",
    "lease",
    "next",
    "renew",
    "release",
    "handover",
    "emit",
    "interrupt",
    "played",
    "read",
]
SCRIPTS: tuple[ScriptName, ...] = get_args(ScriptName)

# What is read of a session at once, in this order; the scripts know the list, too.
SESSION_FIELDS = tuple(
    "sid owner members agent mode status context created_ms ttl_ms turn active_turn epoch seq n".split()  # noqa: SIM905 - shorter
)


@cache
def source(name: ScriptName) -> str:
    """The script's text, with the prelude that all share."""
    folder = files("voicebus.bus") / "lua"
    fields = ", ".join(f"'{field}'" for field in SESSION_FIELDS)
    constants = f"local SESSION_FIELDS = {{ {fields} }}\n"
    return constants + (folder / "prelude.lua").read_text() + (folder / f"{name}.lua").read_text()


@cache
def sha(name: ScriptName) -> str:
    """What EVALSHA calls the script."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()
