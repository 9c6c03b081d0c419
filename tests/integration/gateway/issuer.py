"""Somebody who issues tokens, and serves the keys to check them with."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jose import jwk, jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.processes import SECRET

from voicebus.chassis.health import QuietServer, listen


class Key:
    """A key pair."""

    def __init__(self, kid: str, algorithm: str) -> None:
        self.kid = kid
        self.algorithm = algorithm
        pair: Any = (
            rsa.generate_private_key(65_537, 2_048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        )
        self._private = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def shown(self) -> dict[str, Any]:
        """As it stands in the key set."""
        key = jwk.construct(self.public, self.algorithm).to_dict()
        return {name: _text(value) for name, value in key.items()} | {"kid": self.kid, "use": "sig"}

    def sign(self, sub: str = "alice", *, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token."""
        all_claims = {"sub": sub, "aud": "voicebus", "iss": "voicebus", "exp": time.time() + 600, **claims}
        return str(jwt.encode(all_claims, self._private, self.algorithm, {"kid": self.kid, **(headers or {})}))


def signed(header: Any, claims: Any, secret: bytes = SECRET.encode()) -> str:
    """A token with any header, rightly signed by HMAC-SHA-256."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, claims)]
    mac = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(mac).rstrip(b"=")]).decode()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Issuer:
    """Serves the keys at `url`; `down` makes it fail, `asked` counts the requests."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys)
        self.url = ""
        self.down = False
        self.asked = 0

    async def _answer(self, _: Request) -> Response:
        self.asked += 1
        if self.down:
            return Response(status_code=503)
        return JSONResponse({"keys": [key.shown for key in self.keys]})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Issuer"]:
        """Answers while inside."""
        listener = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/keys"
        app = Starlette(routes=[Route("/keys", self._answer)])
        server = QuietServer(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.serve(sockets=[listener]))
            try:
                yield self
            finally:
                server.should_exit = True
