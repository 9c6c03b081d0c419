"""What a model calls the tools of several servers."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

MAX_NAME: Final = 64  # what every model API takes: letters, digits, `_` and `-`
_FORBIDDEN: Final = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST: Final = 8


def qualified(server: str, tool: str) -> str:
    """The name that says where a tool comes from."""
    return _fitted(f"{server}__{tool}")


def offered_names(tools: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each (server, tool), all different: the tool's own, or `server__tool` for all that share it."""
    plain = [_fitted(tool) for _, tool in tools]
    shared = Counter(plain)
    names: list[str] = []
    taken: set[str] = set()
    for (server, tool), name in zip(tools, plain, strict=True):
        chosen = qualified(server, tool) if shared[name] > 1 else name
        if chosen in taken:  # `a.b` and `a_b` of one server, for example
            chosen = _with_digest(chosen, f"{server}\0{tool}")
        taken.add(chosen)
        names.append(chosen)
    return names


def _fitted(name: str) -> str:
    allowed = _FORBIDDEN.sub("_", name)
    return allowed if len(allowed) <= MAX_NAME else _with_digest(allowed, name)


def _with_digest(name: str, identity: str) -> str:
    digest = hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST]
    return f"{name[: MAX_NAME - _DIGEST - 1]}_{digest}"
