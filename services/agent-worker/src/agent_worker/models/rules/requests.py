"""The requests in one message: "add two and three and then tell me the time in paris" holds two."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from agent_worker.models.rules.arguments import fill
from agent_worker.models.rules.cues import STRONG
from agent_worker.models.rules.fitting import takes_text
from agent_worker.models.rules.matching import first_that_matters
from agent_worker.models.rules.places import LEAD_IN, QUESTIONS
from agent_worker.models.rules.routing import Route, Router
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.words import Word

MAX_REQUESTS: Final = 4
MAX_WORDS: Final = 100  # what takes longer to say is no request that rules could make out
MAX_CHARACTERS: Final = 1_000
_MAX_DIVIDED: Final = 40  # words; a longer text is one request, such as one to send a message
_MAX_TRIED: Final = 4  # joints of one clause; each costs what reading the clause costs
_SURE: Final = 0.6  # to take an "and" for the joint of two requests
_JOINTS: Final = re.compile(
    r"(?:[.;?!]+|,?\s+(?:and|but))?\s+(?:and then|after that|afterwards|then|also)\s+|[.;?!]+\s+", re.IGNORECASE
)
_ELLIPSIS: Final = frozenset({"in", "for", "at", "on", "from", "with", "of"})  # "… in rome and in berlin"
_AND: Final = re.compile(r",?\s+and\s+", re.IGNORECASE)


def too_long(text: str) -> bool:
    """Whether a text is longer than what is read."""
    return len(text) > MAX_CHARACTERS or len(text.split()) > MAX_WORDS


def requests_in(text: str, router: Router, now: datetime) -> tuple[Route, ...]:
    """One route for each request, at most four; a single one, perhaps without a tool, if the text can't be divided."""
    whole = router.route(text, now)
    if '"' in text or len(text.split()) > _MAX_DIVIDED:
        return (whole,)
    routes: list[Route] = []
    for part in _JOINTS.split(text):
        if len(routes) > MAX_REQUESTS:
            break
        found = _divided(part, router, now) if part.strip() else ()
        if routes and len(found) == 1 and found[0].tool is None:
            found = (continued(routes[-1], part, now) or found[0],)
        routes.extend(found)
    known = tuple(route for route in routes if route.tool)
    if 1 < len(routes) <= MAX_REQUESTS and len(known) == len(routes):
        return known
    return known[:MAX_REQUESTS] if whole.tool is None and known else (whole,)


def _divided(text: str, router: Router, now: datetime) -> tuple[Route, ...]:
    """A clause, cut at each "and" that both sides of are requests of their own."""
    found: list[Route] = []
    start = tried = 0
    words = Sentence(text, now).words
    for joint in _AND.finditer(text):
        left, right = text[start : joint.start()], text[joint.end() :]
        if STRONG & set(left.lower().split()) or tried == _MAX_TRIED:
            break
        elliptic = right.lower().partition(" ")[0] in _ELLIPSIS
        if not elliptic and not _may_begin_request([word for word in words if word.start >= joint.end()], router):
            continue
        tried += 1
        first = router.route(left, now)
        if first.confidence < _SURE:
            continue
        if not first.missing and _begins_request(right, router, now):
            found.append(first)
            start = joint.end()
        elif elliptic and not router.route(right, now).tool and (second := continued(first, right, now)):
            return (*found, first, second)
    return (*found, router.route(text[start:], now))


def continued(route: Route, text: str, now: datetime) -> Route | None:
    """The same request with what a fragment says: "and in berlin"; None if it says nothing that the tool takes."""
    profile = route.profile
    if profile is None:
        return None
    filling = fill(profile, Sentence(text, now), frozenset())
    new = {path: value for path, value in filling.values.items() if value != {}}
    sure = {path: value for path, value in new.items() if path not in filling.guessed_paths}
    texts = [one for one in profile.parameters if takes_text(one)]
    new = sure or (new if len(texts) == 1 else {})
    return route.refilled({**route.filling.values, **new}) if new else None


def _may_begin_request(words: Sequence[Word], router: Router) -> bool:
    """Whether a request may begin with these words: the one that matters asks, or some tool uses it."""
    first = next((word for word in words if word.norm not in LEAD_IN), None)
    return first is not None and (first.norm in QUESTIONS or first.stem in router.vocabulary)


def _begins_request(text: str, router: Router, now: datetime) -> bool:
    """Whether a text names a tool with its first word that matters, or asks a question."""
    route = router.route(text, now)
    if route.profile is None or route.confidence < _SURE:
        return False
    sentence = Sentence(text, now)
    at = first_that_matters(sentence)
    if sentence.norms[at] in QUESTIONS:
        return True
    return sentence.stems[at] in route.profile.weights and at not in route.filling.used
