"""The values for a tool's parameters, as they are gathered."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agent_worker.models.rules.schema import Parameter, Path


@dataclass
class Filling:
    """What a sentence gives a tool."""

    values: dict[Path, Any] = field(default_factory=dict)
    used: set[int] = field(default_factory=set)  # words that values were read from
    guessed: set[int] = field(default_factory=set)  # those of them that stand there without a reason
    loose: list[Any] = field(default_factory=list)  # what an array would hold, if it were enough
    chosen: set[Path] = field(default_factory=set)  # an enumeration's value was said as it is
    rejected: set[Path] = field(default_factory=set)  # a number was said for it that it doesn't take
    guessed_paths: set[Path] = field(default_factory=set)

    def missing(self, parameters: Iterable[Parameter]) -> tuple[Parameter, ...]:
        """The parameters without a value that the tool can't do without."""
        return tuple(one for one in parameters if one.path not in self.values and self._needed(one))

    def arguments(self) -> dict[str, Any]:
        """The values in the form of the schema."""
        root: dict[str, Any] = {}
        for path, value in self.values.items():
            _put(root, path, copy.deepcopy(value))
        return root

    def _needed(self, parameter: Parameter) -> bool:
        if parameter.required:
            return True
        parent = parameter.path[:-1]
        optional_object = bool(parent) and parameter.siblings_required
        return optional_object and any(path[: len(parent)] == parent for path in self.values)


def _put(root: dict[str, Any], path: Path, value: object) -> None:
    """Set a value in nested objects; the 0 on a path stands for an array of one."""
    here: Any = root
    for step, following in zip(path, [*path[1:], None], strict=True):
        if following is None:
            if isinstance(value, dict) and not value:
                here.setdefault(step, value)
            else:
                here[step] = value
        elif following == 0:
            here = here.setdefault(step, [{}])
        elif step == 0:
            here = here[0]
        else:
            here = here.setdefault(step, {})
