"""The way in: REST calls, and lasting connections to sessions."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import uuid4

import httpx2
import orjson

from voicebus_client.connection import Connection
from voicebus_client.dial import AudioForm, rest_url
from voicebus_client.errors import BadFrame, Unreachable, VoicebusError, error_from_response
from voicebus_client.models import (
    Answer,
    DeadLetter,
    Health,
    Retried,
    SessionInfo,
    Stage,
    answer,
    dead_letter,
    retried,
    session_info,
)
from voicebus_client.options import Options
from voicebus_client.position import Position
from voicebus_client.protocol import Backoff
from voicebus_client.tokens import Tokens, TokenSource

_WAIT_S = 40.0  # for an answer that the gateway itself waits 30 s for
_GATEWAY_GONE = (502, 503)


class Voicebus:
    """A gateway at `url` (http or https), used as `async with`.

    `token` is a string, a function (plain or async) that gets a fresh one whenever that is needed, or None for a
    gateway in development mode. Every call that changes something carries an id, so it is repeated safely when no
    answer comes: `attempts` times in all, `timeout_s` seconds each.
    """

    def __init__(
        self,
        url: str,
        token: TokenSource = None,
        *,
        options: Options | None = None,
        timeout_s: float = 10.0,
        attempts: int = 3,
    ) -> None:
        self._url = rest_url(url)
        self._tokens = Tokens(token)
        self._options = options or Options()
        self._attempts = attempts
        self._backoff = Backoff(first_s=0.2, most_s=2.0)
        self._http = httpx2.AsyncClient(base_url=self._url, timeout=timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the HTTP connections; those made by `connect` live on."""
        await self._http.aclose()

    def connect(
        self,
        session_id: str,
        *,
        position: Position | None = None,
        audio: AudioForm = "binary",
        options: Options | None = None,
    ) -> Connection:
        """A lasting connection to a session, to be used as `async with`.

        From `position` on (`Position.BEGINNING`: all that is kept), by default from now on. `audio` is how speech
        travels; the application gets the same bytes.
        """
        return Connection(
            self._url, session_id, self._tokens, position=position, audio=audio, options=options or self._options
        )

    async def create_session(
        self,
        *,
        agent_type: str = "personal",
        mode: Literal["text", "voice"] = "voice",
        context: Mapping[str, Any] | None = None,
        members: Sequence[str] = (),
        ttl_s: int | None = None,
        idempotency_key: str | None = None,
    ) -> SessionInfo:
        """A new session. `members` are other users who may join; with the same key again it is the same session.

        Raises:
            VoicebusError: as every call here: the server refused, or `Unreachable`.
        """
        new: dict[str, Any] = {"agent_type": agent_type, "mode": mode, "context": context or {}, "members": members}
        if ttl_s is not None:
            new["ttl_s"] = ttl_s
        headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
        return session_info(await self._call("POST", "/ai/sessions", json=new, headers=headers))

    async def sessions(self, *, page: int = 50) -> AsyncIterator[SessionInfo]:
        """The caller's sessions, newest first; fetched by `page` at a time."""
        cursor = None
        while True:
            found, cursor = await self.session_page(cursor, limit=page)
            for session in found:
                yield session
            if not cursor:
                return

    async def session_page(self, cursor: str | None = None, *, limit: int = 50) -> tuple[list[SessionInfo], str | None]:
        """Some of the caller's sessions, newest first, and the cursor of those that follow, if any."""
        items, following = await self._page("/ai/sessions", "sessions", cursor, limit)
        return [session_info(item) for item in items], following

    async def session(self, session_id: str) -> SessionInfo:
        """A session's state, with its history."""
        return session_info(await self._call("GET", _path(session_id)))

    async def send_message(
        self,
        session_id: str,
        content: str,
        *,
        wait: bool = False,
        id: str | None = None,  # noqa: A002 - the wire's name
    ) -> Answer:
        """Says something in writing; with `wait` the answer holds the response, unless that took over 30 s."""
        message_id = id or uuid4().hex
        body = await self._call(
            "POST",
            _path(session_id) + "/message",
            json={"id": message_id, "content": content},
            params={"wait": "true"} if wait else {},
            timeout_s=_WAIT_S if wait else None,
        )
        return answer(body, message_id)

    async def announce(
        self,
        session_id: str,
        content: str,
        *,
        on_busy: Literal["queue", "interrupt"] = "queue",
        id: str | None = None,  # noqa: A002 - the wire's name
    ) -> Answer:
        """Makes the assistant say this as it is, when it is its turn or in place of what goes on."""
        message_id = id or uuid4().hex
        saying = {"id": message_id, "content": content, "on_busy": on_busy}
        return answer(await self._call("POST", _path(session_id) + "/say", json=saying), message_id)

    async def end_session(self, session_id: str) -> None:
        """Ends a session; its log stays readable for a while."""
        await self._call("DELETE", _path(session_id))

    async def dead_letters(
        self, cursor: str | None = None, *, stage: Stage | None = None, limit: int = 50
    ) -> tuple[list[DeadLetter], str | None]:
        """Mail that was given up, newest first, and the cursor of what follows, if anything. For administrators."""
        items, following = await self._page("/ai/dead-letters", "dead_letters", cursor, limit, stage=stage)
        return [dead_letter(item) for item in items], following

    async def dead_letter(self, letter_id: str) -> DeadLetter:
        """A dead letter with its mail."""
        return dead_letter(await self._call("GET", _letter_path(letter_id)))

    async def retry_dead_letter(self, letter_id: str) -> Retried:
        """Makes it its session's mail again, once: if no answer came, it may be `dead_letter_not_found`."""
        return retried(await self._call("POST", _letter_path(letter_id) + "/retry"))

    async def drop_dead_letter(self, letter_id: str) -> None:
        """Deletes a dead letter, as `retry_dead_letter` does once."""
        await self._call("DELETE", _letter_path(letter_id))

    async def health(self) -> Health:
        """How the gateway and what it needs are; being unwell is an answer, not an error."""
        response = await self._request("GET", "/ai/health")
        body = _json(response)
        if not isinstance(body, dict) or "parts" not in body:
            raise error_from_response(response.status_code, response.content)
        return Health(
            response.status_code == 200, body["parts"], str(body.get("version", "")), body.get("stages") or {}
        )

    async def _page(
        self, path: str, name: str, cursor: str | None, limit: int, **more: str | None
    ) -> tuple[list[Any], str | None]:
        query = {"limit": str(limit), "cursor": cursor, **more}
        given = {key: value for key, value in query.items() if value}
        body = await self._call("GET", path, params=given)
        if not isinstance(body, dict) or not isinstance(body.get(name), list):
            raise BadFrame("bad_frame", f"not a page of {name}")
        return body[name], body.get("next")

    async def _call(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        failures = 0
        renewed = False
        while True:
            try:
                response = await self._request(
                    method, path, json=json, params=params, headers=headers, timeout_s=timeout_s
                )
                if response.is_success:
                    return _json(response)
                raise error_from_response(response.status_code, response.content)
            except VoicebusError as error:
                if error.status == 401 and self._tokens.can_renew and not renewed:
                    renewed = True
                    await self._tokens.renew()
                    continue
                failures += 1
                gone = isinstance(error, Unreachable) or error.status in _GATEWAY_GONE
                if not gone or failures >= self._attempts:
                    raise
            await asyncio.sleep(self._backoff.delay_s(failures, random.random()))  # noqa: S311 - spreads load, hides nothing

    async def _request(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> httpx2.Response:
        try:
            return await self._http.request(
                method,
                path,
                content=orjson.dumps(json) if json is not None else None,
                params=params,
                headers={"Content-Type": "application/json", **(headers or {}), **await self._tokens.headers()},
                timeout=timeout_s or httpx2.USE_CLIENT_DEFAULT,
            )
        except httpx2.TransportError as error:
            raise Unreachable("unreachable", f"no gateway answers: {error!r}", temporary=True) from error


def _path(session_id: str) -> str:
    return f"/ai/sessions/{quote(session_id, safe='')}"


def _letter_path(letter_id: str) -> str:
    return f"/ai/dead-letters/{quote(letter_id, safe='')}"


def _json(response: httpx2.Response) -> Any:
    if not response.content:
        return None
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError as error:
        raise BadFrame("bad_frame", "the answer is not JSON", status=response.status_code) from error
