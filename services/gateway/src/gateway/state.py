"""What the routes of one gateway process share; nothing in it matters to any other process."""

from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from gateway import metrics
from gateway.admission import Admission
from gateway.auth import Authenticator, Caller
from gateway.connections import Connections
from gateway.drain import Drain
from gateway.hub import Hub
from gateway.limits import Limits
from gateway.proxies import Proxies
from gateway.revocations import Revocations
from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus
from voicebus.contract.errors import BusFull, BusUnavailable, Refused


@dataclass(frozen=True)
class Gateway:
    """Made once, at start-up."""

    settings: GatewaySettings
    bus: Bus
    hub: Hub
    authenticator: Authenticator
    revocations: Revocations
    limits: Limits
    admission: Admission
    drain: Drain
    connections: Connections
    proxies: Proxies

    async def admit(self, token: str | None, address: str) -> Caller:
        """Who calls with this token, which was not revoked, from this address.

        Raises:
            Refused: `token_missing`, `token_expired`, `token_invalid`, `token_revoked` or `keys_unavailable`;
                `too_many_attempts` if that came too often from there.
        """
        try:
            caller = await self.authenticator.caller(token)
            self.revocations.admit(caller)
        except Refused as error:
            metrics.auth_failures.labels(error.code).inc()
            if error.status == 401:
                with suppress(BusUnavailable, BusFull):
                    await self.limits.attempt(address)
            raise
        return caller


def address_of(connection: HTTPConnection) -> str:
    """Where the client is, as the server or a trusted proxy saw it."""
    return connection.client.host if connection.client else ""


def of(connection: HTTPConnection) -> Gateway:
    """The gateway that serves this request."""
    return cast("Gateway", connection.app.state.gateway)
