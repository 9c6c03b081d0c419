"""Pages of other origins: what browsers ask before they send, and what becomes of requests that need no asking."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from support.processes import RunningGateway, bearer_of

ALLOWED, REFUSED = "http://localhost:3000", "https://evil.example"


@pytest.fixture
async def http(gateway: RunningGateway) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=gateway.url) as client:
        yield client


def preflight(origin: str, method: str) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, last-event-id",
    }


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/ai/sessions", "POST"),
        ("/ai/sessions/s/message", "POST"),
        ("/ai/sessions/s/events", "GET"),
        ("/ai/sessions/s", "DELETE"),
    ],
)
async def test_a_page_of_an_allowed_origin_may_send_everything_that_we_read(
    http: httpx2.AsyncClient, path: str, method: str
) -> None:
    answer = await http.options(path, headers=preflight(ALLOWED, method))
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
    assert "Origin" in answer.headers["Vary"]
    assert method in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    for name in ("authorization", "content-type", "idempotency-key", "last-event-id"):
        assert name in allowed


@pytest.mark.parametrize("origin", [REFUSED, "null", "http://localhost:3000.evil.example", "https://localhost:3000"])
async def test_a_page_of_another_origin_is_told_nothing_and_its_requests_have_no_effect(
    gateway: RunningGateway, http: httpx2.AsyncClient, origin: str
) -> None:
    asked = await http.options("/ai/sessions", headers=preflight(origin, "POST"))
    assert asked.status_code == 400
    assert "Access-Control-Allow-Origin" not in asked.headers
    http.headers.update(bearer_of("someone-with-a-page-open"))
    sent = await http.post("/ai/sessions", headers={"Origin": origin})
    assert (sent.status_code, sent.json()["code"]) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in sent.headers
    assert (await http.get("/ai/sessions")).json()["sessions"] == []


async def test_an_allowed_page_can_read_answers_and_errors(http: httpx2.AsyncClient) -> None:
    made = await http.post("/ai/sessions", headers=bearer_of("alice") | {"Origin": ALLOWED})
    refused = await http.get("/ai/sessions", headers={"Origin": ALLOWED})
    assert (made.status_code, refused.status_code) == (201, 401)
    for answer in (made, refused):
        assert answer.headers["Access-Control-Allow-Origin"] == ALLOWED
        exposed = answer.headers["Access-Control-Expose-Headers"]
        assert {"Location", "Retry-After"} <= {name.strip() for name in exposed.split(",")}


async def test_without_an_origin_it_is_no_page(http: httpx2.AsyncClient) -> None:
    assert (await http.post("/ai/sessions", headers=bearer_of("alice"))).status_code == 201
