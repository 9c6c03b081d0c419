"""The requests in one message: "add two and three and then tell me the time in paris" holds two."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agent_worker.models.rules.cues import STRONG
from agent_worker.models.rules.places import LEAD_IN
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.routing import CONFIDENT, QUESTIONS, Route, route_sentence
from agent_worker.models.rules.sentence import Sentence

MAX_REQUESTS: Final = 4
_SURE: Final = 0.6  # to take an "and" for the joint of two requests
_JOINTS: Final = re.compile(
    r"(?:[.;?!]+|,?\s+(?:and|but))?\s+(?:and then|after that|afterwards|then|also)\s+|[.;?!]+\s+", re.IGNORECASE
)
_AND: Final = re.compile(r",?\s+and\s+", re.IGNORECASE)


def requests_in(text: str, profiles: Sequence[Profile], now: datetime) -> tuple[Route, ...]:
    """One route for each request, at most four; a single one, perhaps without a tool, if the text can't be divided."""
    whole = route_sentence(Sentence(text, now), profiles)
    if '"' not in text:
        parts = [part for part in _JOINTS.split(text) if part.strip()]
        routes = [route for part in parts for route in _divided(part, profiles, now)]
        if 1 < len(parts) and 1 < len(routes) <= MAX_REQUESTS and all(route.tool for route in routes):
            return tuple(routes)
        if len(parts) > 1 and whole.tool is None:
            return tuple(route for route in routes if route.tool)[:MAX_REQUESTS] or (whole,)
    divided = _divided(text, profiles, now)
    return divided if 1 < len(divided) <= MAX_REQUESTS else (whole,)


def _divided(text: str, profiles: Sequence[Profile], now: datetime) -> tuple[Route, ...]:
    """A clause, cut at each "and" that both sides of are requests of their own."""
    for joint in _AND.finditer(text):
        left, right = text[: joint.start()], text[joint.end() :]
        if STRONG & set(left.lower().split()):
            break
        first = route_sentence(Sentence(left, now), profiles)
        if first.tool is None or first.confidence < _SURE or first.missing or not _begins_request(right, profiles, now):
            continue
        return (first, *_divided(right, profiles, now))
    return (route_sentence(Sentence(text, now), profiles),)


def _begins_request(text: str, profiles: Sequence[Profile], now: datetime) -> bool:
    """Whether a text names a tool with its first word that matters, or asks a question."""
    sentence = Sentence(text, now)
    route = route_sentence(sentence, profiles)
    if route.tool is None or route.profile is None or route.confidence < max(_SURE, CONFIDENT):
        return False
    at = next((at for at, norm in enumerate(sentence.norms) if norm not in LEAD_IN), -1)
    return sentence.norms[at] in QUESTIONS or (
        sentence.stems[at] in route.profile.weights and at not in route.filling.used
    )
