"""REST of the dead letters: for administrators, page by page, back or out."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr
from support.burials import bury, bury_question
from support.processes import SECRET, RunningGateway, bearer_of
from support.sessions import events_of, open_session

from gateway.auth import issue_token
from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus
from voicebus.contract.audio import AudioSpec
from voicebus.contract.events import User

PATH = "/ai/dead-letters"


@pytest.fixture
async def admin(gateway: RunningGateway) -> AsyncIterator[httpx2.AsyncClient]:
    settings = GatewaySettings(jwt_secret=SecretStr(SECRET))
    token = issue_token(settings, uuid4().hex, timedelta(hours=1), ["admin"])
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=gateway.url, headers=headers, timeout=20) as http:
        yield http


async def letters_of(admin: httpx2.AsyncClient, *session_ids: str, limit: int = 100) -> list[dict[str, Any]]:
    """What is listed of these sessions, over all pages."""
    found: list[dict[str, Any]] = []
    query = {"limit": str(limit)}
    while True:
        answer = await admin.get(PATH, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["dead_letters"]) <= limit
        found += [letter for letter in page["dead_letters"] if letter["session_id"] in session_ids]
        if not page["next"]:
            return found
        query["cursor"] = page["next"]


async def test_an_administrator_sees_what_failed_and_why(admin: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    session_id = await bury_question(gateway_bus)
    (listed,) = await letters_of(admin, session_id)
    assert (listed["stage"], listed["turn"], listed["error"]["code"]) == ("agent", 1, "agent_failed")
    assert "mail" not in listed
    shown = (await admin.get(f"{PATH}/{listed['id']}")).json()
    mail = shown.pop("mail")
    assert shown == listed
    assert (mail["kind"], mail["content"]) == ("user", "poison")


async def test_pages_follow_each_other_newest_first(admin: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    sessions = [await bury_question(gateway_bus) for _ in range(3)]
    letters = await letters_of(admin, *sessions, limit=1)
    assert [letter["session_id"] for letter in letters] == sessions[::-1]
    (only,) = (await admin.get(PATH, params={"stage": "tts"})).json()["dead_letters"] or [None]
    assert only is None


async def test_a_retried_question_is_asked_again_once(admin: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    session_id = await bury_question(gateway_bus)
    (letter,) = await letters_of(admin, session_id)
    retried = await admin.post(f"{PATH}/{letter['id']}/retry")
    assert retried.status_code == 200
    last = (await events_of(gateway_bus, session_id))[-1]
    assert isinstance(last, User)
    assert retried.json() == {"seq": last.seq, "turn": last.turn}
    again = await admin.post(f"{PATH}/{letter['id']}/retry")
    assert (again.status_code, again.json()["code"]) == (404, "dead_letter_not_found")
    assert await letters_of(admin, session_id) == []


async def test_a_dropped_letter_is_gone(admin: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    session_id = await bury_question(gateway_bus)
    (letter,) = await letters_of(admin, session_id)
    assert (await admin.delete(f"{PATH}/{letter['id']}")).status_code == 204
    for answer in (await admin.delete(f"{PATH}/{letter['id']}"), await admin.get(f"{PATH}/{letter['id']}")):
        assert (answer.status_code, answer.json()["code"]) == (404, "dead_letter_not_found")
    assert await letters_of(admin, session_id) == []


async def test_what_cannot_be_retried_says_why(admin: httpx2.AsyncClient, gateway_bus: Bus) -> None:
    spoken, ended = await open_session(gateway_bus), await bury_question(gateway_bus)
    await gateway_bus.inbox.audio_start(spoken, "c", "s1", AudioSpec(format="pcm16"), 0)
    await bury(gateway_bus, "stt", spoken)
    await gateway_bus.sessions.end(ended, "deleted")
    codes = {}
    for letter in await letters_of(admin, spoken, ended):
        answer = await admin.post(f"{PATH}/{letter['id']}/retry")
        codes[letter["session_id"]] = (answer.status_code, answer.json()["code"])
        assert (await admin.delete(f"{PATH}/{letter['id']}")).status_code == 204
    assert codes == {spoken: (409, "retry_impossible"), ended: (410, "session_ended")}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", PATH), ("GET", f"{PATH}/agent-0-1-0"), ("POST", f"{PATH}/agent-0-1-0/retry"), ("DELETE", f"{PATH}/x")],
)
async def test_nobody_else_learns_or_changes_anything(gateway: RunningGateway, method: str, path: str) -> None:
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        theirs = await http.request(method, path, headers=bearer_of("alice"))
        nobodys = await http.request(method, path)
    assert (theirs.status_code, theirs.json()["code"]) == (403, "scope_missing")
    assert (nobodys.status_code, nobodys.json()["code"]) == (401, "token_missing")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"cursor": ""}, "bad_query"),
        ({"cursor": "nonsense"}, "bad_query"),
        ({"cursor": "boss-0-1-0"}, "bad_query"),
        ({"cursor": "agent-0-1-0" * 20}, "bad_query"),
        ({"limit": "0"}, "bad_query"),
        ({"limit": "101"}, "bad_query"),
        ({"stage": "boss"}, "bad_query"),
    ],
    ids=str,
)
async def test_a_wrong_question_is_refused(admin: httpx2.AsyncClient, query: dict[str, str], code: str) -> None:
    answer = await admin.get(PATH, params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


@pytest.mark.parametrize(
    "letter_id", ["x", "agent-0-1", "boss-0-1-0", "agent-999999999-1-0", "agent-0-1-0%00", "%F0%9F%98%80"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_odd_id_names_no_letter(admin: httpx2.AsyncClient, method: str, letter_id: str) -> None:
    answer = await admin.request(method, f"{PATH}/{letter_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "dead_letter_not_found")
