"""Sessions with a secret each, and clients at every door that see whose secrets come out there."""

import asyncio
import json
import random
import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import httpx2
from faults.crowd import QUICK
from faults.tally import Tally, total
from support.processes import SECRET

from voicebus_client.client import Voicebus
from voicebus_client.connection import Connection
from voicebus_client.position import Position
from voicebus_client.upload import AudioSpec
from voicebus_stack.question import bundled_question
from voicebus_stack.tokens import make_token

SECRETS: Final = re.compile(r"nonce-[0-9a-f]{16}")
_TOKENS: Final = re.compile(r"\beyJ[\w-]{8,}")  # how each begins, whether it is valid or not
_CLIP_BYTES: Final = 40_000  # of speech: as much as a message takes
_DOORS: Final = ("socket user", "socket response", "stream user", "page user")  # and the type of events
_PATIENT: Final = replace(QUICK, open_timeout_s=30, first_timeout_s=120)  # with a crowd that comes all at once
_LASTING: Final = httpx2.Timeout(10, read=None)
_AGAIN_S: Final = 0.2  # after a connection broke


def new_secret() -> str:
    """One that nobody else has."""
    return f"nonce-{secrets.token_hex(8)}"


class Private:
    """A session of one user, in which every text and every answer holds the same secret.

    With `aloud` its first text is said aloud: the secret, which the STT engine is to understand in any speech.
    """

    def __init__(self, owner: str, session_id: str, secret: str, *, turns: int, aloud: bool = False) -> None:
        self.owner = owner
        self.token = make_token(SECRET, owner)
        self.session_id = session_id
        self.secret = secret
        self.foreign = 0  # secrets of others that came out
        self._texts = [f"{number} is {secret}" for number in range(turns)]
        self._aloud = aloud
        if aloud:
            self._texts[0] = secret
        self._came: dict[str, list[str]] = {door: [] for door in _DOORS}

    @classmethod
    async def open(
        cls, voicebus: Voicebus, owner: str, *, turns: int, secret: str | None = None, aloud: bool = False
    ) -> "Private":
        """A new one, whose secret stands in its context, too."""
        secret = secret or new_secret()
        session = await voicebus.create_session(context={"secret": secret})
        return cls(owner, session.session_id, secret, turns=turns, aloud=aloud)

    @property
    def tally(self) -> Tally:
        """Of what was to be said at every door where it comes out, and of others' secrets."""
        doors = (Tally.of(self._texts, came) for came in self._came.values())
        return total(doors) + Tally(misplaced=self.foreign)

    @property
    def turns(self) -> int:
        """How many texts it says."""
        return len(self._texts)

    @property
    def streamed(self) -> bool:
        """Whether all of its texts came as server-sent events."""
        return len(self._came["stream user"]) >= self.turns

    async def talk(self, voicebus: Voicebus, chance: random.Random, *, pause_s: float, last: asyncio.Event) -> None:
        """Says something, waits for the answer and its speech, and so on; the last text when `last` is set."""
        said = spoken = 0
        await asyncio.sleep(chance.uniform(0, pause_s))
        async with voicebus.connect(self.session_id, position=Position.BEGINNING, options=_PATIENT) as connection:
            answered = self._came["socket response"]
            await self._say(connection, said)
            said += 1
            async for event in connection:
                self._look_at(event.raw if isinstance(event.raw, str) else event.raw.decode(errors="replace"))
                self._note("socket", event.type, event.data)
                spoken += event.type == "tts" and event.data["is_last"]
                if min(spoken, len(answered)) < said:
                    continue
                if said == self.turns:
                    return
                await asyncio.sleep(chance.uniform(0, pause_s))
                if said == self.turns - 1:
                    await last.wait()
                await self._say(connection, said)
                said += 1

    async def _say(self, connection: Connection, number: int) -> None:
        if self._aloud and number == 0:
            question = bundled_question()
            spec = AudioSpec("pcm16", question.sample_rate, question.channels)
            await connection.send_clip(question.samples[:_CLIP_BYTES], spec, id=message_id(number))
        else:
            await connection.send_text(self._texts[number], id=message_id(number))

    async def follow(self, http: httpx2.AsyncClient) -> None:
        """Reads server-sent events until it is cancelled, and comes back where it was whenever they break off."""
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.token}"}
        place = ""
        while True:
            known = {"Last-Event-ID": place} if place else {}
            with suppress(httpx2.TransportError):
                path = f"{self._path}/events?after=0"
                async with http.stream("GET", path, headers=headers | known, timeout=_LASTING) as answer:
                    own = ""
                    async for line in answer.aiter_lines():
                        self._look_at(line)
                        own = line.removeprefix("id: ") if line.startswith("id: ") else own
                        if line.startswith("data: "):
                            event = json.loads(line.removeprefix("data: "))
                            self._note("stream", event["type"], event["data"])
                            place = own
            await asyncio.sleep(_AGAIN_S)

    async def look_up(self, http: httpx2.AsyncClient) -> None:
        """Reads what REST tells of the session; its page of events takes the place of the one before."""
        page = await get(http, f"{self._path}/events?limit=1000", self.token)
        self._look_at(page)
        self._came["page user"].clear()
        for event in json.loads(page)["events"]:
            self._note("page", event["type"], event["data"])
        self._look_at(await get(http, self._path, self.token))

    @property
    def _path(self) -> str:
        return f"/ai/sessions/{self.session_id}"

    def _note(self, door: str, kind: str, data: Any) -> None:
        if (came := self._came.get(f"{door} {kind}")) is not None:
            came.append(data["content"])

    def _look_at(self, raw: str) -> None:
        self.foreign += sum(secret != self.secret for secret in SECRETS.findall(raw))


def message_id(number: int) -> str:
    """Of a session's text."""
    return f"text-{number}"


async def list_sessions(http: httpx2.AsyncClient, own: list[Private]) -> Tally:
    """Reads the list of sessions of the owner of all these: whether all secrets of these are in it, and no others."""
    known = {private.secret for private in own}
    listed = set(SECRETS.findall(await get(http, "/ai/sessions?limit=100", own[0].token)))
    return Tally(lost=len(known - listed), misplaced=len(listed - known))


async def get(http: httpx2.AsyncClient, path: str, token: str) -> str:
    """The answer to the bearer of the token, asked for until it comes."""
    while True:
        with suppress(httpx2.TransportError):
            answer = await http.get(path, headers={"Authorization": f"Bearer {token}"})
            if answer.is_success:
                return answer.text
        await asyncio.sleep(_AGAIN_S)


def leaks(log: str, privates: list[Private]) -> Iterator[str]:
    """The secrets and the tokens, in full or by their signature, that the log of a process holds."""
    yield from SECRETS.findall(log)
    yield from ("a token" for _ in _TOKENS.findall(log))
    for token in {private.token for private in privates}:
        if token.rpartition(".")[2] in log:
            yield "a token's signature"
