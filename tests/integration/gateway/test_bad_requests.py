"""Whoever may not come in, and what can not be served over REST: a stable code, and the neighbours notice nothing."""

from contextlib import suppress

import httpx2
import pytest
from integration.gateway.issuer import signed
from integration.gateway.neighbours import Neighbours, nested
from jose import jwt
from support.processes import SECRET, RunningGateway, bearer_of
from support.sessions import open_session
from support.wire import wire
from websockets.exceptions import ConnectionClosed

from voicebus.bus.bus import Bus

CLAIMS = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": 4_000_000_000}


HS256 = {"alg": "HS256", "typ": "JWT"}
TOKENS = {
    "alg none, unsigned": (signed({"alg": "none"}, CLAIMS).rpartition(".")[0] + ".", "token_invalid"),
    "alg none, signed": (signed({"alg": "none"}, CLAIMS), "token_invalid"),
    "alg in an odd type": (signed({"alg": {}}, CLAIMS), "token_invalid"),
    "no alg": (signed({}, CLAIMS), "token_invalid"),
    "another algorithm": (str(jwt.encode(CLAIMS, SECRET, algorithm="HS512")), "token_invalid"),
    "another key": (str(jwt.encode(CLAIMS, "another", algorithm="HS256")), "token_invalid"),
    "a wrong audience": (signed(HS256, CLAIMS | {"aud": "others"}), "token_invalid"),
    "an odd audience": (signed(HS256, CLAIMS | {"aud": {"a": 1}}), "token_invalid"),
    "a wrong issuer": (signed(HS256, CLAIMS | {"iss": "others"}), "token_invalid"),
    "expired": (signed(HS256, CLAIMS | {"exp": 1_000}), "token_expired"),
    "an odd expiry": (signed(HS256, CLAIMS | {"exp": {}}), "token_invalid"),
    "without sub": (signed(HS256, {k: v for k, v in CLAIMS.items() if k != "sub"}), "token_invalid"),
    "an odd sub": (signed(HS256, CLAIMS | {"sub": 7}), "token_invalid"),
    "half a character as sub": (signed(HS256, CLAIMS | {"sub": "\ud800"}), "token_invalid"),
    "claims that are a list": (signed(HS256, ["alice"]), "token_invalid"),
    "two dots": ("..", "token_invalid"),
    "not even a token": ("nonsense", "token_invalid"),
    "a very long one": ("t" * 8_000, "token_invalid"),
}


@pytest.mark.parametrize("kind", TOKENS)
async def test_a_bad_token_opens_nothing(gateway: RunningGateway, neighbours: Neighbours, kind: str) -> None:
    token, code = TOKENS[kind]
    headers = {"Authorization": f"Bearer {token}"}
    async with wire(gateway, neighbours.session_id, additional_headers=headers) as client:
        with suppress(ConnectionClosed):
            await client.receive()
        assert (client.socket.close_code, client.socket.close_reason, client.seen) == (4401, code, [])
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        answer = await http.get("/ai/sessions")
        assert (answer.status_code, answer.json()["code"]) == (401, code)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert (await http.post("/ai/sessions")).status_code == 401
    await neighbours.talk()


@pytest.mark.parametrize(
    "which", ["someone else's", "one that never was", "a name that no session has", "one that ended"]
)
async def test_a_session_that_is_not_open_to_the_caller_says_so(
    gateway: RunningGateway, gateway_bus: Bus, neighbours: Neighbours, which: str
) -> None:
    caller, name = "alice", neighbours.session_id
    close, status, code, read = 4001, 404, "session_not_found", 404
    if which == "someone else's":
        caller, close = "mallory", 4403
    elif which == "one that never was":
        name = "never"
    elif which == "a name that no session has":
        name = "%7Bno%7D" + "x" * 100
    else:
        name = await open_session(gateway_bus, "hello")
        await gateway_bus.sessions.end(name, "deleted")
        close, status, code, read = 4510, 410, "session_ended", 200
    async with wire(gateway, name, sub=caller) as client:
        assert await client.close_code() == close
    async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of(caller)) as http:
        answer = await http.post(f"/ai/sessions/{name}/message", json={"content": "let me in"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await http.get(f"/ai/sessions/{name}")).status_code == read
        if status == 404:
            assert (await http.delete(f"/ai/sessions/{name}")).status_code == 404
    await neighbours.talk()


@pytest.mark.parametrize(
    "query",
    [
        *("after=-1", "after=one", "after=1e3", "after=", f"after={10**30}"),
        *("speech=-1", f"speech={2**53 + 1}", "audio=mp3", f"epoch={'e' * 65}&after=1"),
    ],
)
async def test_a_position_that_is_none_is_a_bad_query(
    gateway: RunningGateway, neighbours: Neighbours, query: str
) -> None:
    async with wire(gateway, neighbours.session_id, f"?{query}") as client:
        assert await client.close_code() == 4400
        assert client.socket.close_reason == "bad_query"
    await neighbours.talk()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "bad_message"),
        (b"{", 400, "bad_json"),
        (b"\xff", 400, "bad_json"),
        (b"[]", 422, "bad_message"),
        (b"{}", 422, "bad_message"),
        (b'{"content":7}', 422, "bad_message"),
        (b'{"content":""}', 422, "bad_message"),
        (b'{"content":" \\n "}', 422, "bad_message"),
        (b'{"content":"\\ud800"}', 422, "bad_message"),
        (b'{"content":"a","id":""}', 422, "bad_message"),
        (b'{"content":"a","id":7}', 422, "bad_message"),
        (b'{"content":"a","id":"\\udc00"}', 422, "bad_message"),
        (b'{"content":"a","id":"' + b"i" * 10_000 + b'"}', 422, "bad_message"),
        (b'{"content":"a","more":' + b"9" * 5_000 + b"}", 400, "bad_json"),
        (b'{"content":"a","more":' + nested(9_000).encode() + b"}", 400, "bad_json"),
        (b'{"content":"' + b"a" * 70_000 + b'"}', 413, "message_too_big"),
        (b'{"content":"other","id":"used"}', 409, "id_conflict"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_bad_request_is_refused_with_its_code(
    gateway: RunningGateway, neighbours: Neighbours, body: bytes, status: int, code: str
) -> None:
    headers = bearer_of("alice") | {"Content-Type": "application/json"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers) as http:
        path = f"/ai/sessions/{neighbours.session_id}/message"
        first = await http.post(path, json={"id": "used", "content": "first"})
        answer = await http.post(path, content=body)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["Content-Type"] == "application/problem+json"
        await neighbours.talk()
        again = await http.post(path, json={"id": "used", "content": "first"})
        assert (again.status_code, again.json()["seq"]) == (202, first.json()["seq"])


LONG = "s" * 5_000


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "not_found"),
        ("GET", "/ai/sessions/", 404, "not_found"),
        ("GET", "//ai/sessions", 404, "not_found"),
        ("GET", "/ai/sessions/..%2f..%2fetc%2fpasswd", 404, "not_found"),
        ("GET", "/ai/sessions/%2e%2e/%2e%2e/etc/passwd", 404, "not_found"),
        ("GET", "/ai/sessions/..%5c..%5cetc", 404, "session_not_found"),
        ("GET", "/ai/sessions/..;", 404, "session_not_found"),
        ("GET", "/ai/sessions/%00", 404, "session_not_found"),
        ("GET", "/ai/sessions/a%00b", 404, "session_not_found"),
        ("GET", "/ai/sessions/%F0%9F%98%80", 404, "session_not_found"),
        ("GET", "/ai/sessions/%ff%fe", 404, "session_not_found"),
        ("GET", "/ai/sessions/a%0d%0ab", 404, "session_not_found"),
        ("GET", f"/ai/sessions/{LONG}", 404, "session_not_found"),
        ("DELETE", f"/ai/sessions/{LONG}", 404, "session_not_found"),
        ("POST", "/ai/sessions/%F0%9F%98%80/message", 404, "session_not_found"),
        ("GET", "/ai/sessions/a%7Bb%7D/events", 404, "session_not_found"),
        ("PATCH", "/ai/sessions", 405, "method_not_allowed"),
        ("PUT", "/ai/sessions/s", 405, "method_not_allowed"),
        ("OPTIONS", "/ai/sessions", 405, "method_not_allowed"),
        ("GET", "/ai/sessions/s/message", 405, "method_not_allowed"),
        ("GET", "/ai/sessions?limit=1&limit=2", 422, "bad_query"),
        ("GET", "/ai/sessions?limit=1&limit=1", 422, "bad_query"),
        ("GET", "/ai/sessions?cursor=", 422, "bad_query"),
        ("GET", "/ai/sessions?cursor=%00", 422, "bad_query"),
        ("POST", "/ai/sessions/s/message?wait=true&wait=false", 422, "bad_query"),
        ("POST", "/ai/sessions/s/message?wait=perhaps", 422, "bad_query"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_path_that_is_none_is_answered_in_one_form(
    gateway: RunningGateway, neighbours: Neighbours, method: str, path: str, status: int, code: str
) -> None:
    body = {"content": "hello"} if method == "POST" else None
    async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer_of("alice")) as http:
        answer = await http.request(method, path.replace("/s/", f"/{neighbours.session_id}/"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() | {"title": "", "detail": ""} == {
        "type": f"urn:voicebus:error:{code}",
        "title": "",
        "detail": "",
        "status": status,
        "code": code,
        "temporary": False,
    }
    await neighbours.talk()


async def test_a_method_that_is_not_known_is_told_which_are(gateway: RunningGateway) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        assert (await http.patch("/ai/sessions")).headers["Allow"] == "GET, POST"
        assert (await http.patch("/ai/sessions/s")).headers["Allow"] == "DELETE, GET"
        assert (await http.patch("/ai/sessions/s/message")).headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Accept": "text/html"}, 406, "not_acceptable"),
        ({"Accept": "application/json;q=0"}, 406, "not_acceptable"),
        ({"Accept": "text/html, application/*;q=0.1"}, 202, None),
        ({"Accept": "*/*"}, 202, None),
        ({"Accept": "application/problem+json"}, 202, None),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Type": ""}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/json; charset=utf-8"}, 202, None),
        ({"Content-Type": "application/merge-patch+json"}, 202, None),
        ({"Idempotency-Key": "k" * 65}, 422, "bad_query"),
        ({"Idempotency-Key": ""}, 422, "bad_query"),
        ({"Origin": "https://evil.example"}, 403, "origin_not_allowed"),
    ],
    ids=str,
)
async def test_headers_decide_what_may_come_and_go(
    gateway: RunningGateway, neighbours: Neighbours, headers: dict[str, str], status: int, code: str | None
) -> None:
    sent = bearer_of("alice") | {"Content-Type": "application/json"} | headers
    async with httpx2.AsyncClient(base_url=gateway.url, headers=sent) as http:
        answer = await http.post(f"/ai/sessions/{neighbours.session_id}/message", content=b'{"content":"hello"}')
    assert (answer.status_code, answer.json().get("code")) == (status, code)
    if code:
        assert answer.headers["Content-Type"] == "application/problem+json"
    await neighbours.talk()
