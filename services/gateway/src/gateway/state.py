"""What the routes of one gateway process share; nothing in it matters to any other process."""

from dataclasses import dataclass
from typing import cast

from starlette.requests import HTTPConnection

from gateway.auth import Authenticator
from gateway.drain import Drain
from gateway.hub import Hub
from gateway.settings import GatewaySettings
from voicebus.bus.bus import Bus


@dataclass(frozen=True)
class Gateway:
    """Made once, at start-up."""

    settings: GatewaySettings
    bus: Bus
    hub: Hub
    authenticator: Authenticator
    drain: Drain


def of(connection: HTTPConnection) -> Gateway:
    """The gateway that serves this request."""
    return cast("Gateway", connection.app.state.gateway)
