"""Where the token comes from."""

import inspect
from collections.abc import Awaitable, Callable

from voicebus_client.errors import Unauthorized

TokenSource = str | Callable[[], str | Awaitable[str]] | None


class Tokens:
    """A fixed token, a function (plain or async) that gets a fresh one, or none at all."""

    def __init__(self, source: TokenSource) -> None:
        self._source = source
        self._token = source if isinstance(source, str) else ""
        self.can_renew = callable(source)

    async def get(self) -> str:
        """The token in use; empty if there is none."""
        if not self._token and self.can_renew:
            return await self.renew()
        return self._token

    async def renew(self) -> str:
        """A fresh token, from now on in use.

        Raises:
            Unauthorized: the application's function failed.
        """
        if not callable(self._source):
            return self._token
        try:  # whatever the application's function may raise
            made = self._source()
            self._token = await made if inspect.isawaitable(made) else made
        except Exception as error:
            raise Unauthorized("token_missing", f"no new token could be had: {error}", status=401) from error
        return self._token

    async def headers(self) -> dict[str, str]:
        """The HTTP headers that carry the token."""
        token = await self.get()
        return {"Authorization": f"Bearer {token}"} if token else {}
