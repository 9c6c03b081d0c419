"""The Lua scripts as Redis knows them: by the SHA-1 of their text."""

import hashlib
import re
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
    "words",
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

_BEGINS = re.compile(r"^(?=local )", re.MULTILINE)
_COMMENT = re.compile(r"^ *--.*\n?|  *--.*$", re.MULTILINE)
_WORD = re.compile(r"\w+")
_CALLED = re.compile(r"(\w+)\(")

# What some scripts share, put in front of them.
_INCLUDES: dict[str, tuple[str, ...]] = {
    "emit": ("writes.lua", "playback.lua"),
    "words": ("writes.lua",),
    "played": ("playback.lua",),
    "interrupt": ("playback.lua", "cut.lua"),
    "submit": ("playback.lua", "cut.lua"),
}


@cache
def source(name: ScriptName) -> str:
    """The script's text, behind what it uses of the definitions that scripts share."""
    folder = files("voicebus.bus") / "lua"
    fields = ", ".join(f"'{field}'" for field in SESSION_FIELDS)
    constants = f"local SESSION_FIELDS = {{ {fields} }}\n"
    shared = "\n".join((folder / part).read_text() for part in ("prelude.lua", *_INCLUDES.get(name, ())))
    script = (folder / f"{name}.lua").read_text()
    return used_of(constants + shared, script) + script


def used_of(shared: str, script: str) -> str:
    """The definitions that the script uses, and those that these use, in their order.

    Redis makes every function of a script anew at each call, and has to collect it: what is not used costs as much.
    """
    definitions = [_Definition(text) for text in _BEGINS.split(shared) if text.startswith("local ")]
    used, more = set[int](), [script]
    while more:
        text = _COMMENT.sub("", more.pop())
        words, called = set(_WORD.findall(text)), set(_CALLED.findall(text))
        for number, definition in enumerate(definitions):
            if number not in used and definition.names & (called if definition.is_function else words):
                used.add(number)
                more.append(definition.text)
    return "".join(definitions[number].text for number in sorted(used))


class _Definition:
    """One `local` at the top: a function, or constants and variables."""

    def __init__(self, text: str) -> None:
        self.text = _COMMENT.sub("", text)
        self.is_function = text.startswith("local function ")
        line = text.partition("\n")[0].removeprefix("local ").removeprefix("function ")
        self.names = set(_WORD.findall(line.partition("=")[0].partition("(")[0]))


@cache
def sha(name: ScriptName) -> str:
    """What EVALSHA calls the script."""
    return hashlib.sha1(source(name).encode(), usedforsecurity=False).hexdigest()
