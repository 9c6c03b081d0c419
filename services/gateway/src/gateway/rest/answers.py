"""What the OpenAPI document says of a call's answers."""

from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from pydantic import TypeAdapter

from gateway.problems import PROBLEM_TYPE, Problem, problem_of
from gateway.rest.log_page import EventPageTail
from voicebus.contract.errors import ERRORS, VoicebusError
from voicebus.contract.events import AnyEvent

Answers = dict[int | str, dict[str, Any]]

_OF_EVERY_CALL: Final = (
    *("bad_query", "token_missing", "token_invalid", "token_expired", "token_revoked", "scope_missing"),
    *("origin_not_allowed", "method_not_allowed", "not_acceptable", "too_many_attempts"),
    *("keys_unavailable", "bus_unavailable", "internal"),
)
OF_A_SESSION: Final = ("session_not_found",)
OF_A_BODY: Final = ("bad_json", "bad_message", "message_too_big", "unsupported_media_type")
_SCHEMAS: Final = "#/components/schemas/"


def problems(*codes: str) -> Answers:
    """The errors of a call beside those that every call has, by their status."""
    by_status = dict[int, list[str]]()
    for code in dict.fromkeys((*codes, *_OF_EVERY_CALL)):
        by_status.setdefault(ERRORS[code].status, []).append(code)
    return {status: _problem_answer(by_status[status]) for status in sorted(by_status)}


def answer(description: str, example: object, **more: Any) -> dict[str, Any]:
    """An answer in JSON, with an example of it."""
    return {"description": description, "content": {"application/json": {"example": example}}, **more}


def header(description: str, kind: str = "string") -> dict[str, Any]:
    """A header of an answer."""
    return {"description": description, "schema": {"type": kind}}


def _problem_answer(codes: list[str]) -> dict[str, Any]:
    examples = {
        code: {
            "summary": ERRORS[code].text,
            "value": problem_of(VoicebusError(code)).model_dump(exclude_none=True),
        }
        for code in codes
    }
    return {
        "description": " · ".join(f"`{code}`" for code in codes),
        "content": {PROBLEM_TYPE: {"schema": {"$ref": f"{_SCHEMAS}Problem"}, "examples": examples}},
    }


_BESIDE: Final[tuple[tuple[str, Any, str], ...]] = (  # name, model, and what its parts' names begin with
    ("Event", AnyEvent, "Event."),
    ("EventPageTail", EventPageTail, ""),
)


def describe(app: FastAPI, agents: Sequence[str]) -> None:
    """Adds what no route's models say: problems, events as they stand in the log, and which agents there are."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schemas = made().setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for name, kind, prefix in _BESIDE:
                schema = TypeAdapter(kind).json_schema(ref_template=f"{_SCHEMAS}{prefix}{{model}}")
                schemas |= {f"{prefix}{part}": one for part, one in schema.pop("$defs").items()}
                schemas[name] = schema
            schemas["NewSession"]["properties"]["agent_type"]["enum"] = list(agents)
            _leave_out_null(made())
        return made()

    setattr(app, "openapi", openapi)  # noqa: B010 - an assignment is what FastAPI documents and mypy refuses


def _leave_out_null(document: dict[str, Any]) -> None:
    """A parameter that is not there is left out: no text stands for None."""
    for methods in document["paths"].values():
        for call in methods.values():
            for parameter in call.get("parameters", ()):
                schema = parameter["schema"]
                kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
                schema |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
