"""The parameters that a tool's JSON schema describes, flattened to what can be said in a sentence.

A nested object gives one parameter for each of its properties; of an array of objects the first element is
filled. `$ref`, `allOf`, `anyOf`/`oneOf` with null or with constants, `const` and lists of types are resolved.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, cast

from agent_worker.models.rules.words import STOP_WORDS, parts_of, stem, words_of

Kind = Literal["string", "integer", "number", "boolean", "array", "object"]
Path = tuple[str | int, ...]  # from the arguments to the value; 0: the first element of an array
Schema = Mapping[str, Any]

_KINDS: Final = frozenset({"string", "integer", "number", "boolean", "array", "object"})
_MAX_DEPTH: Final = 4
_ABSENT: Final = object()


@dataclass(frozen=True)
class Choice:
    """One value of an enumeration, and the stems of what one says for it."""

    value: Any
    spoken: str
    stems: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Parameter:
    """One value that a tool takes; two are the same only if they are one object."""

    path: Path
    kinds: tuple[Kind, ...]  # what it may be, in the schema's order
    required: bool
    title: str = ""
    description: str = ""
    choices: tuple[Choice, ...] = ()
    constant: Any = None
    format: str = ""
    pattern: str = ""
    minimum: float | None = None  # inclusive
    maximum: float | None = None  # inclusive
    max_length: int | None = None  # characters
    item: "Parameter | None" = None  # what an array holds
    min_items: int = 0
    siblings_required: bool = True  # of an optional object: required once another of its properties was said

    @property
    def name(self) -> str:
        """The last name on the path."""
        return str(next(step for step in reversed(self.path) if isinstance(step, str)))

    @property
    def label(self) -> str:
        """The name as one says it: "due date"."""
        return " ".join(parts_of(self.name)) or self.name

    @property
    def name_stems(self) -> tuple[str, ...]:
        """The stems of the name's words, in order."""
        return tuple(map(stem, parts_of(self.name)))

    @property
    def numeric(self) -> bool:
        """Whether a number is what it takes."""
        return not self.choices and "string" not in self.kinds and bool({"integer", "number"} & set(self.kinds))

    @property
    def textual(self) -> bool:
        """Whether it takes words as they were said."""
        return "string" in self.kinds and not self.choices


def stems_of(text: str) -> tuple[str, ...]:
    """The stems of the words in a text that say something."""
    found = (part for word in words_of(text) for part in parts_of(word.norm) or (word.norm,))
    return tuple(stem(part) for part in found if part not in STOP_WORDS)


def parameters_of(schema: Schema) -> tuple[Parameter, ...]:
    """All parameters of a tool's input schema in the schema's order."""
    return tuple(_properties(_Resolver(schema), schema, (), required=True, depth=0))


class _Resolver:
    """Replaces references and combinations by the schema that they stand for."""

    def __init__(self, root: Schema) -> None:
        self._root = root

    def __call__(self, schema: object, depth: int = 0) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or depth > 8:
            return {}
        resolved = dict(schema)
        if isinstance(reference := resolved.pop("$ref", None), str):
            resolved = {**self(self._lookup(reference), depth + 1), **resolved}
        for part in _list(resolved.pop("allOf", ())):
            resolved = _merged(self(part, depth + 1), resolved)
        for key in ("anyOf", "oneOf"):
            options = [self(option, depth + 1) for option in _list(resolved.pop(key, ()))]
            if options:
                resolved = {**_union(options), **resolved}
        return resolved

    def _lookup(self, reference: str) -> object:
        found: object = self._root
        for step in reference.removeprefix("#").strip("/").split("/"):
            if not isinstance(found, Mapping):
                return {}
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {})
        return found


def _merged(part: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = {**part, **over}
    if all(isinstance(one.get("properties"), Mapping) for one in (part, over)):
        merged["properties"] = {**part["properties"], **over["properties"]}
        merged["required"] = [*_list(part.get("required")), *_list(over.get("required"))]
    return merged


def _union(options: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One schema for several: null is left out, constants become an enumeration, types are joined."""
    real = [option for option in options if option.get("type") != "null" and option.get("const", _ABSENT) is not None]
    if not real:
        return {}
    if all("const" in option for option in real):
        titles = [str(option.get("title") or option["const"]) for option in real]
        return {"enum": [option["const"] for option in real], "x-titles": titles}
    if all("enum" in option or "const" in option for option in real):
        return {"enum": [value for option in real for value in _list(option.get("enum", [option.get("const")]))]}
    types = [kind for option in real for kind in _types(option)]
    return {**real[0], "type": list(dict.fromkeys(types))} if types else real[0]


def _types(schema: Schema) -> list[str]:
    declared = schema.get("type")
    if isinstance(declared, str):
        return [declared]
    if isinstance(declared, Sequence):
        return [str(kind) for kind in declared]
    if "properties" in schema:
        return ["object"]
    return ["array"] if "items" in schema else []


def _properties(resolve: _Resolver, schema: Schema, path: Path, *, required: bool, depth: int) -> Iterator[Parameter]:
    needed = {name for name in _list(schema.get("required")) if isinstance(name, str)}
    properties = schema.get("properties")
    for name, raw in properties.items() if isinstance(properties, Mapping) else ():
        found = _parameter(resolve, raw, (*path, name), required=name in needed, depth=depth)
        if depth and not required:
            yield from (replace(one, required=False, siblings_required=one.required) for one in found)
        else:
            yield from found


def _parameter(resolve: _Resolver, raw: object, path: Path, *, required: bool, depth: int) -> Iterator[Parameter]:
    schema = resolve(raw)
    kinds = cast("tuple[Kind, ...]", tuple(kind for kind in _types(schema) if kind in _KINDS)) or ("string",)
    items = resolve(schema.get("items")) if "array" in kinds else {}
    if required and kinds[0] == "object":
        yield Parameter(path, kinds, required, constant={})  # there even if nothing in it was said
    if "properties" in schema and depth < _MAX_DEPTH:
        yield from _properties(resolve, schema, path, required=required, depth=depth + 1)
    elif "properties" in items and depth < _MAX_DEPTH:
        yield from _properties(resolve, items, (*path, 0), required=required, depth=depth + 1)
    elif kinds[0] != "object":
        item = (
            next(_parameter(resolve, items, path, required=True, depth=_MAX_DEPTH), None) if "array" in kinds else None
        )
        yield _scalar(schema, path, kinds, item, required=required)


def _scalar(
    schema: Schema, path: Path, kinds: tuple[Kind, ...], item: Parameter | None, *, required: bool
) -> Parameter:
    return Parameter(
        path=path,
        kinds=kinds,
        required=required,
        title=str(schema.get("title") or ""),
        description=str(schema.get("description") or ""),
        choices=_choices(schema),
        constant=schema.get("const"),
        format=str(schema.get("format") or ""),
        pattern=str(schema.get("pattern") or ""),
        minimum=_bound(schema, "minimum", "exclusiveMinimum", 1),
        maximum=_bound(schema, "maximum", "exclusiveMaximum", -1),
        max_length=_count(schema.get("maxLength")),
        item=item,
        min_items=_count(schema.get("minItems")) or 0,
    )


def _choices(schema: Schema) -> tuple[Choice, ...]:
    values = [value for value in _list(schema.get("enum")) if value is not None]
    titles = schema.get("x-titles") or schema.get("enumNames") or schema.get("x-enumNames")
    if not isinstance(titles, Sequence) or len(titles) != len(values):
        titles = values
    return tuple(_choice(value, str(title)) for value, title in zip(values, titles, strict=True))


def _choice(value: object, title: str) -> Choice:
    parts = parts_of(title) or (title.lower(),)
    return Choice(value, " ".join(parts), tuple(map(stem, parts)))


def _list(value: object) -> Sequence[Any]:
    """A list, or nothing where a schema isn't one."""
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _bound(schema: Schema, inclusive: str, exclusive: str, step: int) -> float | None:
    limit, strict = schema.get(inclusive), schema.get(exclusive)
    if isinstance(strict, int | float) and not isinstance(strict, bool):
        return strict + step if "integer" in _types(schema) else math.nextafter(strict, step * math.inf)
    return limit if isinstance(limit, int | float) else None
