from typing import Any

from agent_worker.models.rules.schema import Parameter, parameters_of


def parameters(required: str = "", defs: dict[str, Any] | None = None, /, **properties: Any) -> dict[str, Parameter]:
    schema = {"type": "object", "properties": properties, "required": required.split(), "$defs": defs or {}}
    return {".".join(map(str, one.path)): one for one in parameters_of(schema)}


def test_nullable_parameters_are_what_they_are_besides_null() -> None:
    found = parameters(
        "",
        a={"anyOf": [{"type": "integer", "minimum": 3}, {"type": "null"}], "default": None, "description": "how many"},
        b={"type": ["string", "null"]},
        c={"oneOf": [{"type": "number"}, {"type": "null"}]},
    )
    assert [found[name].kinds for name in "abc"] == [("integer",), ("string",), ("number",)]
    assert (found["a"].minimum, found["a"].description) == (3, "how many")


def test_references_are_followed_also_where_they_go_in_circles() -> None:
    loop = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Loop"}, "city": {"type": "string"}}}
    found = parameters(
        "size",
        {"Size": {"enum": ["S", "L"]}, "Loop": loop},
        size={"$ref": "#/$defs/Size"},
        way={"$ref": "#/$defs/Loop"},
    )
    assert [choice.value for choice in found["size"].choices] == ["S", "L"]
    assert found["way.city"].kinds == ("string",)


def test_choices_are_spoken_without_underscores_and_capitals() -> None:
    found = parameters("", state={"enum": ["IN_TRANSIT", "wontFix", None, 3]})
    assert [(choice.value, choice.spoken) for choice in found["state"].choices] == [
        ("IN_TRANSIT", "in transit"),
        ("wontFix", "wont fix"),
        (3, "3"),
    ]


def test_constants_with_titles_are_choices() -> None:
    found = parameters("", mode={"oneOf": [{"const": "a1", "title": "Fast lane"}, {"const": "b2"}]})
    assert [(choice.value, choice.spoken) for choice in found["mode"].choices] == [("a1", "fast lane"), ("b2", "b 2")]


def test_nested_objects_give_one_parameter_for_each_property() -> None:
    address = {
        "type": "object",
        "properties": {"street": {"type": "string"}, "zip": {"type": "string"}},
        "required": ["street"],
    }
    found = parameters("home", home=address, work=address)
    assert found["home.street"].required
    assert not found["home.zip"].required
    assert not found["work.street"].required
    assert found["work.street"].siblings_required


def test_exclusive_bounds_exclude_the_bound() -> None:
    found = parameters(
        "",
        n={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10},
        x={"type": "number", "exclusiveMinimum": 0},
    )
    assert (found["n"].minimum, found["n"].maximum) == (1, 9)
    assert found["x"].minimum is not None
    assert found["x"].minimum > 0


def test_parts_of_a_schema_are_merged() -> None:
    found = parameters("", n={"allOf": [{"type": "integer", "maximum": 5}, {"minimum": 1}], "description": "stars"})
    assert (found["n"].kinds, found["n"].minimum, found["n"].maximum) == (("integer",), 1, 5)
