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
    "approve",
    "approvals",
    "played",
    "read",
    "due",
    "waiting",
    "waited",
    "announce",
    "workers",
    "info",
    "retry",
    "count",
    "charge",
    "revoke",
]
SCRIPTS: tuple[ScriptName, ...] = get_args(ScriptName)

# What is read of a session at once, in this order; the scripts know the list, too.
SESSION_FIELDS = tuple(
    "sid owner members agent mode status context created_ms ttl_ms turn active_turn approvals epoch seq n".split()  # noqa: SIM905 - shorter
)

# What some scripts share, put in front of them.
_INCLUDES: dict[str, tuple[str, ...]] = {
    "emit": ("playback.lua",),
    "played": ("playback.lua",),
    "interrupt": ("playback.lua", "cut.lua"),
    "submit": ("playback.lua", "cut.lua"),
}


@cache
def source(name: ScriptName) -> str:
    """The script's text, with the prelude that all share and what only some need."""
    folder = files("voicebus.bus") / "lua"
    fields = ", ".join(f"'{field}'" for field in SESSION_FIELDS)
    constants = f"local SESSION_FIELDS = {{ {fields} }}\n"
    parts = ("prelude.lua", *_INCLUDES.get(name, ()), f"{name}.lua")
    return constants + "".join((folder / part).read_text() for part in parts)


@cache
def sha(name: ScriptName) -> str:
    """What EVALSHA calls the script."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()
