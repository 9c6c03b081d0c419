"""The OpenAPI document: complete, with examples that fit, and the gateway does what it says."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx2
import jsonschema_rs
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.engine import events, from_schema
from support.processes import SECRET, RunningGateway, gateway_process
from support.report import Show

from gateway.auth import SCOPES, issue_token
from gateway.settings import GatewaySettings
from voicebus.contract.errors import ERRORS
from voicebus_stack.tokens import TWELVE_HOURS

# What a request may meet though it is as the document has it, and how one is refused that is not.
_ELSEWHERE = ["2xx", "401", "403", "404", "409", "410", "429", "503", "507"]
_REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "410", "413", "415", "422"]


@pytest.fixture(scope="module")
def gateway(redis_url: str) -> Iterator[RunningGateway]:
    """Nobody answers here, so that waiting for an answer must be short."""
    settings = {"WAIT_S": "0.01", "SESSIONS_PER_USER": "100000", "MESSAGE_MAX": "1000000"}
    with gateway_process(redis_url, "openapi", **settings) as running:
        yield running


@pytest.fixture(scope="module")
def document(gateway: RunningGateway) -> dict[str, Any]:
    return dict(httpx2.get(f"{gateway.url}/openapi.json").json())


def calls(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": call
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    }


def contents(call: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each body of a call and of its answers: where, its media type, what is said of it."""
    for media_type, content in call.get("requestBody", {}).get("content", {}).items():
        yield "request", media_type, content
    for status, answer in call["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            yield status, media_type, content


def examples(content: dict[str, Any]) -> list[Any]:
    if "example" in content:
        return [content["example"]]
    values = [example["value"] for example in content.get("examples", {}).values()]
    return values or list(content["schema"].get("examples", ()))


def test_every_call_is_described_with_examples_that_fit(document: dict[str, Any]) -> None:
    found = calls(document)
    assert {"POST /ai/sessions", "GET /ai/sessions/{session_id}/events", "GET /ai/health"} <= found.keys()
    for name, call in found.items():
        assert call.get("summary"), name
        assert call.get("description"), name
        for where, media_type, content in contents(call):
            assert examples(content), (name, where, media_type)
            for example in examples(content):
                schema = {**content["schema"], "components": document["components"]}
                jsonschema_rs.Draft202012Validator(schema).validate(example)


def test_every_call_names_its_errors_and_who_may_call(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    for name, call in calls(document).items():
        if name == "GET /ai/health":
            continue
        assert call["security"] == [{"bearer": []}], name
        assert {"401", "403", "405", "406", "422", "500", "503"} <= call["responses"].keys(), name
        for status, media_type, content in contents(call):
            if status >= "400" and status != "request":
                assert media_type == "application/problem+json", name
                for example in examples(content):
                    assert str(ERRORS[example["code"]].status) == status, (name, example)


def failed(recorder: Any) -> Iterator[str]:
    """What was found in a scenario; without the "valid" requests that have a header which was made to be invalid."""
    for case_id, checks in recorder.checks.items():
        parts = recorder.cases[case_id].value.meta.components.values()
        invalid = any(part.mode is GenerationMode.NEGATIVE for part in parts)
        for check in checks:
            if check.failure_info and not (invalid and check.name == "positive_data_acceptance"):
                failure = check.failure_info.failure
                yield f"{failure.title}: {failure.message}\n{check.failure_info.code_sample[:500]}"


def test_nothing_is_found_between_the_document_and_the_gateway(gateway: RunningGateway, show: Show) -> None:
    """Examples of the document, each bound of each parameter from both sides, and calls that build on each other.

    `FUZZ_EXAMPLES` is how many more of each call are made up.
    """
    token = issue_token(GatewaySettings(jwt_secret=SECRET), "a-reader", TWELVE_HOURS, sorted(SCOPES))
    config = schemathesis.Config.from_dict(
        {
            "headers": {"Authorization": f"Bearer {token}"},
            "seed": int(os.environ.get("SEED") or 7),
            "workers": 1,
            "generation": {
                "max-examples": int(os.environ.get("FUZZ_EXAMPLES") or 1),
                "deterministic": True,
                "database": "none",
            },
            "phases": {"fuzzing": {"enabled": True}, "coverage": {"unexpected-methods": ["PATCH"]}},
            "checks": {
                "use_after_free": {"enabled": False},  # a session that was ended stays readable
                "positive_data_acceptance": {"expected-statuses": _ELSEWHERE},
                "negative_data_rejection": {"expected-statuses": _REFUSALS},
            },
        }
    )
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json", config=config)
    checks, failures, answered = 0, list[str](), Counter[int]()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failures.append(repr(event))
        if isinstance(event, events.ScenarioFinished):
            for call in event.recorder.interactions.values():
                answered[call.response.status_code if call.response else 0] += 1
            checks += sum(map(len, event.recorder.checks.values()))
            failures += failed(event.recorder)
    show(f"{checks} checks of {answered.total()} calls found {len(failures)}")
    assert not failures, "\n\n".join(failures)
    assert checks > 1_000
    assert answered[200] > 20
    assert answered[201] > 5
    assert answered[422] > 50
