"""`Limit-Near`: the header that warns before a limit refuses, as the event `warning` does on other transports."""

from typing import Final

from starlette.responses import Response

from gateway.limits import Near
from gateway.rest.answers import header

LIMIT_NEAR: Final = {"Limit-Near": header("What is used up of a limit, once most of it is.")}


def warn(response: Response, near: Near | None) -> None:
    """Says so in the answer's head."""
    if near:
        response.headers["Limit-Near"] = near.text
