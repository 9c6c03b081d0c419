"""Tokens of an issuer with keys of its own, keys that change, and what a token allows."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from integration.gateway.here import gateway_here
from integration.gateway.issuer import Issuer, Key, signed
from jose import jwt
from pydantic import SecretStr
from support.process_tree import until
from support.processes import SECRET, RunningGateway
from support.sessions import open_session
from support.wire import wire
from websockets.frames import Frame, Opcode

from gateway.connection import Connection
from gateway.token import main
from voicebus.bus.bus import Bus
from voicebus_stack.tokens import make_token

RSA, EC, NEXT = Key("rsa", "RS256"), Key("ec", "ES256"), Key("next", "RS256")
ALGORITHMS = ("HS256", "RS256", "ES256")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def answer(gateway: RunningGateway, token: str, method: str = "GET", path: str = "/ai/sessions") -> Any:
    """What a request with this token gets: 'ok' or the error's code."""
    async with httpx2.AsyncClient(base_url=gateway.url, headers=bearer(token)) as http:
        got = await http.request(method, path)
    return "ok" if got.is_success else got.json()["code"]


async def ready(gateway: RunningGateway) -> bool:
    async with httpx2.AsyncClient(base_url=gateway.url) as http:
        return (await http.get("/readyz")).is_success


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer(RSA, EC).serving() as issuer:
        yield issuer


@pytest.fixture
async def trusting(redis_url: str, issuer: Issuer) -> AsyncIterator[RunningGateway]:
    """A gateway that asks the issuer again as soon as it must."""
    fields: Any = {"jwt_jwks": issuer.url, "jwt_algorithms": ALGORITHMS, "jwt_jwks_pause_s": 0.001}
    async with gateway_here(redis_url, **fields) as gateway:
        yield gateway


@pytest.mark.parametrize("key", [RSA, EC], ids=lambda key: key.algorithm)
@pytest.mark.parametrize("headers", [{}, {"kid": None}], ids=["its key is named", "no key is named"])
async def test_a_token_of_the_issuer_is_taken(trusting: RunningGateway, key: Key, headers: dict[str, Any]) -> None:
    assert await answer(trusting, key.sign(headers=headers)) == "ok"
    assert await answer(trusting, key.sign(exp=1_000)) == "token_expired"


async def test_the_keys_may_come_from_a_file(redis_url: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_bytes(orjson.dumps({"keys": [RSA.shown, {"kty": "OKP"}, "odd"]}))
    fields: Any = {"jwt_jwks": str(file), "jwt_algorithms": ("RS256",), "jwt_jwks_pause_s": 0.001}
    async with gateway_here(redis_url, **fields) as gateway:
        assert await answer(gateway, RSA.sign()) == "ok"
        assert await answer(gateway, NEXT.sign()) == "token_invalid"
        file.write_bytes(orjson.dumps({"keys": [NEXT.shown]}))
        assert await answer(gateway, NEXT.sign()) == "ok"
        assert await answer(gateway, RSA.sign()) == "token_invalid"


async def test_keys_change_and_no_connection_notices(
    trusting: RunningGateway, issuer: Issuer, gateway_bus: Bus
) -> None:
    session_id = await open_session(gateway_bus)
    async with wire(trusting, session_id, additional_headers=bearer(RSA.sign())) as client:
        await client.until("welcome")
        issuer.keys = [NEXT]
        await client.send(type="auth", id="a1", token=NEXT.sign())
        await client.until("ack")
        assert await answer(trusting, RSA.sign()) == "token_invalid"
        await client.send(type="auth", id="a2", token=RSA.sign())
        assert (await client.until("error"))["data"]["code"] == "token_invalid"
        await client.send(type="text", id="q", content="still here?")
        assert (await client.until("ack"))["data"]["id"] == "q"


async def test_a_new_secret_and_the_one_before_are_taken(redis_url: str, gateway_bus: Bus) -> None:
    def signed(secret: str) -> str:
        claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": time.time() + 600}
        return str(jwt.encode(claims, secret, "HS256"))

    session_id = await open_session(gateway_bus)
    async with gateway_here(redis_url, jwt_secret_previous=SecretStr("the one before")) as gateway:
        async with wire(gateway, session_id, additional_headers=bearer(signed("the one before"))) as client:
            await client.until("welcome")
            await client.send(type="auth", id="a1", token=signed(SECRET))
            await client.until("ack")
        assert await answer(gateway, signed(SECRET)) == "ok"
        assert await answer(gateway, signed("the one before that")) == "token_invalid"
        assert await answer(gateway, signed("")) == "token_invalid"


@pytest.mark.parametrize("dated", [True, False])
async def test_a_token_that_outlasts_its_revocation_is_not_taken(redis_url: str, *, dated: bool) -> None:
    def lasting(seconds: float) -> str:
        claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": time.time() + seconds}
        return str(jwt.encode(claims | ({"iat": time.time()} if dated else {}), SECRET, "HS256"))

    async with gateway_here(redis_url, revocations_kept_s=600) as gateway:
        assert await answer(gateway, lasting(590)) == "ok"
        assert await answer(gateway, lasting(620)) == "token_invalid"


async def test_a_token_from_the_future_is_not_taken(redis_url: str) -> None:
    def issued_in(seconds: float) -> str:
        now = time.time()
        claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "iat": now + seconds, "exp": now + 900}
        return str(jwt.encode(claims, SECRET, "HS256"))

    async with gateway_here(redis_url, jwt_leeway_s=60) as gateway:
        assert await answer(gateway, issued_in(50)) == "ok"
        assert await answer(gateway, issued_in(90)) == "token_invalid"


async def test_unknown_keys_make_no_storm_of_requests(redis_url: str, issuer: Issuer) -> None:
    fields: Any = {"jwt_jwks": issuer.url, "jwt_algorithms": ("RS256",), "jwt_jwks_pause_s": 60}
    async with gateway_here(redis_url, **fields) as gateway:
        assert await answer(gateway, RSA.sign()) == "ok"
        strangers = [NEXT.sign(headers={"kid": f"stranger {number}"}) for number in range(30)]
        answers = await asyncio.gather(*(answer(gateway, token) for token in strangers))
        assert set(answers) == {"token_invalid"}
        assert issuer.asked == 1
        assert await answer(gateway, RSA.sign()) == "ok"


async def test_known_keys_are_valid_while_the_issuer_is_down(trusting: RunningGateway, issuer: Issuer) -> None:
    assert await answer(trusting, RSA.sign()) == "ok"
    issuer.down = True
    assert await answer(trusting, NEXT.sign()) == "token_invalid"
    asked = issuer.asked
    assert await answer(trusting, RSA.sign()) == "ok"
    assert issuer.asked == asked
    assert await ready(trusting)


async def test_a_key_that_was_withdrawn_is_forgotten_in_time(redis_url: str, issuer: Issuer) -> None:
    fields: Any = {"jwt_jwks": issuer.url, "jwt_algorithms": ("RS256",), "jwt_jwks_pause_s": 0.001}
    async with gateway_here(redis_url, jwt_jwks_max_age_s=0.05, **fields) as gateway:
        assert await answer(gateway, RSA.sign()) == "ok"
        issuer.keys = []
        async with asyncio.timeout(20):
            while await answer(gateway, RSA.sign()) == "ok":
                pass


async def test_an_open_connection_has_the_leeway_too(redis_url: str, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": int(time.time()) - 1}
    async with gateway_here(redis_url, jwt_leeway_s=4) as gateway:
        token = signed({"alg": "HS256"}, claims)
        async with wire(gateway, session_id, additional_headers=bearer(token)) as client:
            await client.until("token_expiring")
            await client.send(type="ping")
            await client.until("pong")
            assert await client.close_code() == 4401


async def test_an_issuer_that_was_never_there_is_waited_for(redis_url: str, issuer: Issuer, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    issuer.down = True
    fields: Any = {"jwt_jwks": issuer.url, "jwt_algorithms": ("RS256",), "jwt_jwks_pause_s": 0.001}
    async with gateway_here(redis_url, **fields) as gateway:
        assert await answer(gateway, RSA.sign()) == "keys_unavailable"
        assert not await ready(gateway)
        async with wire(gateway, session_id, additional_headers=bearer(RSA.sign())) as client:
            assert await client.close_code() == 1011
        issuer.down = False
        assert await answer(gateway, RSA.sign()) == "ok"
        assert await ready(gateway)


KIDS = {
    "a path": "../../../../etc/passwd",
    "an address": "http://127.0.0.1:1/keys",
    "a list": ["rsa"],
    "a number": 7,
    "a long one": "k" * 300,
    "NUL": "rsa\0",
    "nothing": "",
}


@pytest.mark.parametrize("kid", KIDS.values(), ids=KIDS)
async def test_a_key_id_names_a_key_of_the_set_or_none(trusting: RunningGateway, kid: object) -> None:
    assert await answer(trusting, RSA.sign(headers={"kid": kid})) == "token_invalid"


async def test_tricks_with_tokens(trusting: RunningGateway) -> None:
    claims = {"sub": "alice", "aud": "voicebus", "iss": "voicebus", "exp": 4_000_000_000}
    assert await answer(trusting, signed({"alg": "HS256", "kid": "rsa"}, claims, RSA.public)) == "token_invalid"
    assert await answer(trusting, EC.sign(headers={"kid": "rsa"})) == "token_invalid"
    assert await answer(trusting, RSA.sign(headers={"crit": ["exp"], "exp": 1})) == "token_invalid"
    assert await answer(trusting, RSA.sign(nbf=time.time() + 60)) == "token_invalid"
    assert await answer(trusting, RSA.sign(nbf=time.time() + 5)) == "ok"
    assert await answer(trusting, RSA.sign(exp=time.time() - 5)) == "ok"
    assert await answer(trusting, RSA.sign(exp=time.time() - 15)) == "token_expired"
    assert await answer(trusting, RSA.sign(much="x" * 16_384)) == "token_invalid"
    assert await answer(trusting, RSA.sign(headers={"jku": "http://127.0.0.1:1/", "jwk": NEXT.shown})) == "ok"
    assert await answer(trusting, NEXT.sign(headers={"jwk": NEXT.shown})) == "token_invalid"


@pytest.mark.parametrize(
    ("scope", "reads", "writes"),
    [
        ("sessions:read", "ok", "scope_missing"),
        ("sessions:write", "scope_missing", "ok"),
        ("openid sessions:read sessions:write", "ok", "ok"),
        (["sessions:read"], "ok", "scope_missing"),
        ("", "scope_missing", "scope_missing"),
        ("sessions:readsessions:write", "scope_missing", "scope_missing"),
        ({"sessions:read": 1}, "token_invalid", "token_invalid"),
    ],
)
async def test_a_token_allows_what_its_scope_names(
    trusting: RunningGateway, scope: object, reads: str, writes: str
) -> None:
    token = RSA.sign("bob", scope=scope)
    assert await answer(trusting, token) == reads
    assert await answer(trusting, token, "POST") == writes


async def test_who_may_only_read_hears_and_says_nothing(trusting: RunningGateway, gateway_bus: Bus) -> None:
    session_id = await open_session(gateway_bus)
    reader, writer = RSA.sign(scope="sessions:read"), RSA.sign(scope="sessions:write")
    async with wire(trusting, session_id, additional_headers=bearer(writer)) as client:
        assert await client.close_code() == 4403
    async with (
        wire(trusting, session_id, additional_headers=bearer(reader)) as client,
        wire(trusting, session_id, additional_headers=bearer(RSA.sign())) as other,
    ):
        await client.until("welcome")
        await client.send(type="text", id="q", content="hello")
        refused = (await client.until("error"))["data"]
        assert (refused["code"], refused["ref"]) == ("scope_missing", "q")
        await client.send(type="audio.start", id="m", stream="s", format="pcm16")
        assert (await client.until("error"))["data"]["code"] == "scope_missing"
        await client.send(type="ping")
        await client.until("pong")
        await other.send(type="auth", id="a", token=reader)
        assert (await other.until("error"))["data"]["code"] == "scope_missing"
        await other.send(type="text", id="o", content="hello")
        assert (await client.until("user"))["data"]["content"] == "hello"


@pytest.mark.parametrize("hours", ["721", "0", "-1", "nan", "1e300"])
def test_no_token_is_made_that_the_gateway_would_not_take(
    hours: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JWT_SECRET", SECRET)
    monkeypatch.setattr("sys.argv", ["token", "alice", f"--hours={hours}"])
    with pytest.raises(SystemExit, match="at most 720"):
        main()
    assert capsys.readouterr().out == ""


async def test_who_renews_its_token_with_its_last_words_is_forgotten(redis_url: str, gateway_bus: Bus) -> None:
    def frame(opcode: Opcode, payload: bytes) -> bytes:
        return Frame(opcode, payload).serialize(mask=True)

    def connections() -> list[Connection]:
        return [each for each in gc.get_objects() if type(each) is Connection]

    session_id, others = await open_session(gateway_bus), connections()
    async with gateway_here(redis_url) as gateway:
        async with wire(gateway, session_id) as client:
            await client.until("welcome")
            [connection] = [each for each in connections() if each not in others]
            caller = connection._client.caller
            renewal = f'{{"type":"auth","id":"1","token":"{make_token(SECRET, "alice")}"}}'.encode()
            client.socket.transport.write(frame(Opcode.TEXT, renewal) + frame(Opcode.CLOSE, b""))
            await client.socket.wait_closed()
        await until(lambda: connection._client.caller is not caller)
        assert connection._timer is None or connection._timer.cancelled()
