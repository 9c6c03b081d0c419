"""What every call checks before it looks at anything else: query, media types."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from fastapi import Request
from starlette.datastructures import QueryParams

from gateway.problems import PROBLEM_TYPE
from voicebus.contract.errors import BadRequest, Refused

JSON: Final = "application/json"
EVENT_STREAM: Final = "text/event-stream"


async def single_parameters(request: Request) -> None:
    """Refuses parameters of the address that are there more than once.

    Raises:
        BadRequest: `bad_query`.
    """
    if (twice := named_twice(request.query_params)) is not None:
        raise BadRequest("bad_query", f"{twice[:64]}: given more than once")


def named_twice(parameters: QueryParams) -> str | None:
    """A parameter that is there more than once, if there is one."""
    times = Counter(name for name, _ in parameters.multi_items())
    return next((name for name, count in times.items() if count > 1), None)


async def json_answer(request: Request) -> None:
    """Refuses who does not take JSON.

    Raises:
        Refused: `not_acceptable`.
    """
    chosen(request, (JSON, PROBLEM_TYPE))


async def json_body(request: Request) -> None:
    """Refuses a body that does not say that it is JSON.

    Raises:
        BadRequest: `unsupported_media_type`.
    """
    named = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if named != JSON and not (named.startswith("application/") and named.endswith("+json")) and await request.body():
        raise BadRequest("unsupported_media_type")


def chosen(request: Request, offered: Sequence[str]) -> str:
    """The media type of those offered that the client likes best; of equals the first.

    Raises:
        Refused: `not_acceptable`.
    """
    accept = ", ".join(request.headers.getlist("accept"))
    best = best_of(accept, offered)
    if best is None:
        raise Refused("not_acceptable", f"The answer can be {' or '.join(offered)}.")
    return best


def best_of(accept: str, offered: Sequence[str]) -> str | None:
    """The same for an `Accept` header (RFC 9110); None if none will do. An empty header accepts all."""
    if not accept.strip():
        return offered[0]
    ranges = dict(_weighed(part) for part in accept.split(","))
    weights = {one: _weight(one, ranges) for one in offered}
    best = max(offered, key=lambda one: weights[one])
    return best if weights[best] > 0 else None


def _weighed(part: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = next((piece[2:].strip() for piece in parameters if piece.startswith("q=")), "1")
    try:
        return name, float(weight)
    except ValueError:
        return name, 0.0


def _weight(media_type: str, ranges: dict[str, float]) -> float:
    """The most specific range that covers the type counts."""
    kind = media_type.partition("/")[0]
    return next((ranges[name] for name in (media_type, f"{kind}/*", "*/*") if name in ranges), 0.0)
