"""Any instance of a wire model, built from its fields' types and bounds."""

from datetime import UTC, datetime
from typing import Annotated, Any, get_args, get_origin

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

TEXT = st.text(st.characters(codec="utf-8"), max_size=40)  # lone surrogates can't be sent in a text frame
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
_LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(0, 2**50),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: TEXT,
    bool: st.booleans(),
    AwareDatetime: TIMES,
    type(None): st.none(),
}


def a_model(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Any instance of the model; its `type` stays what it is."""
    return st.builds(model, **{name: _of_field(f) for name, f in model.model_fields.items() if name != "type"})


def _of_field(field: FieldInfo) -> st.SearchStrategy[Any]:
    bounds = _bounds(field.metadata)
    if "pattern" in bounds:
        return st.from_regex(bounds["pattern"], fullmatch=True).filter(lambda s: 0 < len(s) <= 64)
    if field.annotation in (int, int | None) and bounds:
        values = st.integers(bounds.get("ge", 0), bounds.get("le", 2**50))
        return values if field.annotation is int else st.none() | values
    if field.annotation is str and "min_length" in bounds:
        return TEXT.filter(bool)
    return _of_type(field.annotation)


def _of_type(annotation: Any) -> st.SearchStrategy[Any]:
    if annotation in _LEAVES:
        return _LEAVES[annotation]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return a_model(annotation)
    name = str(annotation)
    if "JsonValue" in name:
        values = st.dictionaries(TEXT, JSON, max_size=3)
        return st.lists(values, max_size=2) if name.startswith("list[") else values if "dict[" in name else JSON
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = _of_type(arguments[0])
        return inner.filter(bool) if "min_length" in _bounds(getattr(arguments[1], "metadata", ())) else inner
    if "Literal" in str(origin):
        return st.sampled_from(arguments)
    return st.one_of(*(_of_type(argument) for argument in arguments))


def _bounds(metadata: Any) -> dict[str, Any]:
    names = ("ge", "le", "min_length", "pattern")
    return {n: getattr(m, n) for m in metadata for n in names if getattr(m, n, None) is not None}
