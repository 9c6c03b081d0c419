"""The public keys of the tokens' issuer: a JSON Web Key Set (RFC 7517) from a file or a URL."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import structlog
from pydantic import BaseModel

from voicebus.contract.errors import Refused, VoicebusError

_log = structlog.get_logger(__name__)
_BYTES_MAX = 1_000_000
_KINDS: Mapping[str, Mapping[str, str]] = {"RS256": {"kty": "RSA"}, "ES256": {"kty": "EC", "crv": "P-256"}}

Jwk = Mapping[str, Any]


class _Document(BaseModel):
    keys: list[Any]  # those of kinds that are not known are to be ignored


class KeySet:
    """Holds the keys, whatever becomes of the place they come from.

    They are read at the start, every `max_age_s` seconds, and when a token names an unknown one. After each attempt
    there is none for `pause_s` seconds, however many such tokens come; of those who want one at once, one makes it.
    What can't be read leaves the keys as they are.
    """

    def __init__(self, source: str, *, max_age_s: float, pause_s: float, timeout_s: float) -> None:
        self._source = source
        self._max_age_s = max_age_s
        self._pause_s = pause_s
        self._timeout_s = timeout_s
        self._keys: Sequence[Jwk] | None = None
        self._lock = asyncio.Lock()
        self._attempts = 0
        self._paused_until_s = 0.0

    async def run(self) -> None:
        """Keeps the keys fresh until cancelled."""
        while True:
            await self._refresh()
            await asyncio.sleep(self._pause_s if self._keys is None else self._max_age_s)

    async def check(self) -> None:
        """For readiness.

        Raises:
            VoicebusError: `keys_unavailable`: they were never read.
        """
        if self._keys is None:
            raise VoicebusError("keys_unavailable")

    async def candidates(self, algorithm: str, kid: str | None) -> Sequence[Jwk]:
        """The keys that a token with this header may be signed with.

        Raises:
            Refused: `keys_unavailable`: they were never read.
        """
        if not (fitting := self._fitting(algorithm, kid)):
            await self._refresh()
            fitting = self._fitting(algorithm, kid)
        if self._keys is None:
            raise Refused("keys_unavailable")
        return fitting

    def _fitting(self, algorithm: str, kid: str | None) -> Sequence[Jwk]:
        return [
            key
            for key in self._keys or ()
            if kid in (None, key.get("kid"))
            and all(key.get(name) == value for name, value in _KINDS[algorithm].items())
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
        ]

    async def _refresh(self) -> None:
        attempts, now = self._attempts, asyncio.get_running_loop().time
        async with self._lock:
            if self._attempts != attempts or now() < self._paused_until_s:
                return
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._keys = _parse(await self._read())
            except (OSError, ValueError, httpx2.HTTPError) as error:
                _log.warning("keys_not_read", source=self._source, reason=repr(error))
            self._attempts += 1
            self._paused_until_s = now() + self._pause_s

    async def _read(self) -> bytes:
        if not self._source.startswith(("http://", "https://")):
            return await asyncio.to_thread(_read_file, Path(self._source))
        content = b""
        async with httpx2.AsyncClient(timeout=self._timeout_s) as http, http.stream("GET", self._source) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > _BYTES_MAX:
                    raise ValueError(f"more than {_BYTES_MAX} bytes")
        return content


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BYTES_MAX)  # what is cut off there is no valid JSON


def _parse(content: bytes) -> Sequence[Jwk]:
    return [key for key in _Document.model_validate_json(content).keys if isinstance(key, dict)]
