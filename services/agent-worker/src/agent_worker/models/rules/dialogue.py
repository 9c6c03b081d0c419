"""What to do about the last message of a conversation: call tools, ask back, or just say something.

Nothing is remembered between messages: an open question is found again by working out what was asked then.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from agent_worker.models.rules.filling import Filling
from agent_worker.models.rules.places import QUESTIONS
from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.questions import correction_for, question_for
from agent_worker.models.rules.replies import EXACT, answered
from agent_worker.models.rules.requests import continued, requests_in, too_long
from agent_worker.models.rules.routing import Route, router_for
from agent_worker.models.rules.schema import Path
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.smalltalk import offer, reply_for, smalltalk_kind
from agent_worker.models.rules.speech import Result, numbers_in
from agent_worker.models.rules.words import plain

_MAX_QUESTIONS: Final = 8  # in a row that are followed back
_MAX_ANSWER: Final = 6  # words; a longer message that doesn't answer the question is about something else
_NEW_REQUEST: Final = 0.6  # from which confidence on an answer is rather a request of its own
_FOLLOWED: Final = 0.6  # the confidence of a request that continues the one before
_FOLLOW_UP: Final = re.compile(
    r"(?:(?:and|no|sorry|actually|okay|ok|well|then|now|oh|rather|instead|the same) )*"
    r"(?:(?:what|how) about |i mean |i meant |i said |make (?:it|that) |(?<=and )|(?<=no )|(?<=actually )|"
    r"(?<=instead )|(?<=same )|(?=(?:for|in|at|on|with) ))(?P<rest>.+)"
)
_REFERENCES: Final = re.compile(r"\b(?:that|it|this|the (?:result|answer|sum|total|product|difference))\b")


@dataclass(frozen=True)
class Turn:
    """One message of the user and what became of it."""

    text: str
    now: datetime
    calls: tuple[tuple[str, Mapping[str, Any]], ...] = ()  # tool and arguments, in order
    results: tuple[Result, ...] = ()
    answer: str = ""


@dataclass(frozen=True)
class Plan:
    """What to do about a message."""

    intent: str  # the tool's name (several joined by "+"), clarify, help, smalltalk, cancel or repeat
    confidence: float
    routes: tuple[Route, ...] = ()  # the calls, or what waits for an answer
    say: str = ""  # what to say instead of calling a tool

    @property
    def asks(self) -> bool:
        """Whether it waits for an answer."""
        return self.intent == "clarify"


def plan_for(turns: Sequence[Turn], profiles: Sequence[Profile], name: str = "") -> Plan:
    """The plan for the last of the turns."""
    return _Conversation(profiles, name).plan(turns, _MAX_QUESTIONS)


class _Conversation:
    def __init__(self, profiles: Sequence[Profile], name: str) -> None:
        self._profiles = profiles
        self._router = router_for(tuple(profiles))
        self._name = name

    def plan(self, turns: Sequence[Turn], depth: int) -> Plan:
        turn, before = turns[-1], turns[:-1]
        if too_long(turn.text):
            return Plan("help", 0.0, say="That was too long for me. Please say it in fewer words.")
        if not plain(turn.text):
            return Plan("help", 0.0, say="Sorry, I didn't catch that.")
        asked = self._open_question(before, depth)
        kind = smalltalk_kind(turn.text)
        if asked and kind == "cancel":
            return Plan("cancel", 1.0, say=reply_for("cancel", self._profiles, self._name))
        if asked and (not kind or _may_be_said(asked, kind)) and (completed := self._answered(asked, turn)):
            return completed
        routes = requests_in(turn.text, self._router, turn.now)
        if kind and (routes[0].tool is None or routes[0].missing or routes[0].confidence < 0.9):
            return self._small_talk(kind, before)
        if routes[0].confidence < _NEW_REQUEST and (followed := self._follow_up(turn, before)):
            return followed
        if routes[0].tool is not None:
            return _requested(_with_references(routes, turn, before))
        return self._help(routes[0])

    def _open_question(self, turns: Sequence[Turn], depth: int) -> Plan | None:
        """What the last answer asked for, if it was a question of ours; only its beginning may have been heard."""
        if not turns or not depth or turns[-1].calls or not turns[-1].answer.strip():
            return None
        plan = self.plan(turns, depth - 1)
        return plan if plan.asks and plan.say.startswith(turns[-1].answer.strip()) else None

    def _answered(self, asked: Plan, turn: Turn) -> Plan | None:
        """The request with the answer in it; None if the message is another request."""
        sentence = Sentence(turn.text, turn.now)
        at, route = next((at, route) for at, route in enumerate(asked.routes) if route.missing)
        parameter = route.missing[0]
        fresh = requests_in(turn.text, self._router, turn.now)[0]
        if (
            fresh.tool == route.tool
            and fresh.filling.values.get(parameter.path) is not None
            and fresh.confidence >= _NEW_REQUEST
        ):
            both = {**route.filling.values, **fresh.filling.values}
            return _requested(_replaced(asked.routes, at, route.refilled(both)))
        values = answered(_profile(route), parameter, sentence, route.filling.values, route.filling.loose)
        another = fresh.tool not in {None, route.tool} and fresh.confidence >= _NEW_REQUEST
        if another and (values is None or parameter.textual):
            return None
        if sentence.norms[0] in QUESTIONS and len(sentence) > 3 and parameter.name.lower() not in EXACT:
            return None
        if values is None:
            return None if len(sentence) > _MAX_ANSWER else replace(asked, say=correction_for(parameter))
        return _requested(_replaced(asked.routes, at, route.refilled(values)))

    def _small_talk(self, kind: str, before: Sequence[Turn]) -> Plan:
        if kind == "repeat":
            last = next((turn.answer for turn in reversed(before) if turn.answer), "")
            return Plan("repeat", 1.0, say=last or "I haven't said anything yet.")
        intent = kind if kind == "cancel" else "help" if kind == "abilities" else "smalltalk"
        return Plan(intent, 1.0, say=reply_for(kind, self._profiles, self._name))

    def _follow_up(self, turn: Turn, before: Sequence[Turn]) -> Plan | None:
        """ "And in Paris?": the last call with what is said now."""
        match = _FOLLOW_UP.fullmatch(plain(turn.text))
        last = next((earlier for earlier in reversed(before[-2:]) if len(earlier.calls) == 1), None)
        if match is None or last is None:
            return None
        tool, arguments = last.calls[0]
        profile = next((profile for profile in self._profiles if profile.name == tool), None)
        if profile is None:
            return None
        old = {one.path: value for one in profile.parameters if (value := _dug(arguments, one.path)) is not None}
        before_it = Route(tool, confidence=_FOLLOWED, profile=profile, filling=Filling(old))
        route = continued(before_it, match["rest"], turn.now)
        return None if route is None else _requested((route,))

    def _help(self, route: Route) -> Plan:
        text = f"I'm not sure how to help with that. {offer(self._profiles, route.near)}"
        return Plan("help", round(1 - route.confidence, 3), say=text)


def _may_be_said(asked: Plan, kind: str) -> bool:
    """Whether small talk may be the text that was asked for: translate "good evening"."""
    parameter = next(route.missing[0] for route in asked.routes if route.missing)
    return kind in {"greeting", "thanks", "goodbye", "wellbeing"} and parameter.name.lower() in EXACT


def _requested(routes: tuple[Route, ...]) -> Plan:
    """Call the tools, or ask for the first thing that is missing."""
    confidence = min(route.confidence for route in routes)
    for route in routes:
        if route.missing:
            parameter = route.missing[0]
            ask = correction_for if parameter.path in route.filling.rejected else question_for
            return Plan("clarify", confidence, routes, ask(parameter))
    return Plan("+".join(dict.fromkeys(str(route.tool) for route in routes)), confidence, routes)


def _profile(route: Route) -> Profile:
    if route.profile is None:
        raise ValueError("a route without a tool has no profile")
    return route.profile


def _replaced(routes: tuple[Route, ...], at: int, route: Route) -> tuple[Route, ...]:
    return (*routes[:at], route, *routes[at + 1 :])


def _with_references(routes: tuple[Route, ...], turn: Turn, before: Sequence[Turn]) -> tuple[Route, ...]:
    """ "Multiply that by two": the number that the last result named; within a turn it is known only later."""
    if not _REFERENCES.search(plain(turn.text)):
        return routes
    results = next((earlier.results for earlier in reversed(before[-2:]) if earlier.results), ())
    numbers = [number for result in results if result.outcome == "success" for number in numbers_in(result.content)]
    resolved: list[Route] = []
    for at, route in enumerate(routes):
        wanting = [one for one in route.missing if one.numeric or (one.item and one.item.numeric)]
        if len(wanting) != 1 or len(route.missing) != 1:
            resolved.append(route)
        elif at:
            resolved.append(replace(route, missing=(), borrowed=wanting[0]))
        elif numbers:
            resolved.append(borrow(replace(route, borrowed=wanting[0]), numbers[-1]))
        else:
            resolved.append(route)
    return tuple(resolved)


def borrow(route: Route, number: float) -> Route:
    """The route with a result in the place that waited for it."""
    parameter = route.borrowed
    if parameter is None:
        return route
    value = [number, *route.filling.loose] if parameter.item else number
    return replace(route.refilled({**route.filling.values, parameter.path: value}), borrowed=None)


def _dug(arguments: Mapping[str, Any], path: Path) -> Any:
    here: Any = arguments
    for step in path:
        if isinstance(here, Mapping):
            here = here.get(step)
        elif isinstance(here, list) and step == 0 and here:
            here = here[0]
        else:
            return None
    return here
