"""What is said to any assistant: greetings, thanks, who it is, what it can do, never mind, say that again."""

import re
from collections.abc import Sequence
from typing import Final

from agent_worker.models.rules.profile import Profile
from agent_worker.models.rules.questions import listed
from agent_worker.models.rules.verbs import VERBS, deed_of
from agent_worker.models.rules.words import plain

_MAX_OFFERS: Final = 6
_MAX_WORDS: Final = 14  # of a description that is told
_CLAUSE_END: Final = re.compile(r"[:;(\n]|, (?:for example|such as)")
_ADDRESS: Final = r"(?: there| everyone| assistant| computer| again| friend| my friend| sir| madam)*"
_PATTERNS: Final = {
    "greeting": (
        rf"(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|greetings|howdy)+{_ADDRESS}"
        r"(?: how are you(?: today| doing)?)?"
    ),
    "wellbeing": r"(?:and )?how are you(?: doing| today)*|how is it going|how's it going|what's up",
    "thanks": (
        r"(?:ok |okay |great |perfect |cool )*(?:thanks|thank you|thank you so|cheers)"
        rf"(?: very much| so much| a lot| much)*{_ADDRESS}|"
        r"(?:great|perfect|cool|awesome|nice|well done|good job|that's all|ok|okay|alright|all right)"
    ),
    "goodbye": (
        r"(?:ok |okay )?(?:goodbye|good bye|bye|bye bye|see you|see you later|good night|farewell)"
        rf"{_ADDRESS}"
    ),
    "identity": (
        r"who are you|what are you|what's your name|what is your name|tell me your name|introduce yourself|"
        r"are you (?:a robot|human|real)"
    ),
    "abilities": (
        r"(?:please )?(?:help|help me|what can you do|what can you do for me|what can i (?:ask|say)(?: you)?|"
        r"what do you do|how can you help(?: me)?|what are you able to do|what are your (?:abilities|skills)|"
        r"list your (?:tools|skills)|what tools do you have|(?:can you |could you )?help me)"
    ),
    "cancel": (
        r"(?:no |oh |ok |okay |actually )*(?:never ?mind|cancel|cancel that|cancel it|forget it|forget that|"
        r"forget about it|stop|stop it|stop that|no thanks|no thank you|drop it|skip it|leave it|nothing|don't bother|"
        r"abort|quit)"
    ),
    "repeat": (
        r"(?:sorry |pardon |what |please |can you |could you |would you )*"
        r"(?:repeat(?: that| it| yourself| the (?:last )?answer)?|say (?:that|it) again|come again|once more|"
        r"one more time|what did you say|what was that|i didn't (?:hear|catch|get) (?:that|you)|pardon(?: me)?|"
        r"say again)"
    ),
}
_KINDS: Final = {kind: re.compile(rf"(?:{pattern})(?: please)?") for kind, pattern in _PATTERNS.items()}
_NAME: Final = re.compile(r"\b(?:[Yy]ou are|[Yy]our name is|[Nn]amed|[Cc]alled) ([A-Z][\w-]+)")


def smalltalk_kind(text: str) -> str:
    """Which of these a whole sentence is; empty for anything else."""
    said = plain(text)
    return next((kind for kind, pattern in _KINDS.items() if pattern.fullmatch(said)), "")


def assistant_name(instructions: str | None) -> str:
    """The name that the system instructions give the assistant, if they do."""
    match = _NAME.search(instructions or "")
    return match[1] if match else ""


def reply_for(kind: str, profiles: Sequence[Profile], name: str) -> str:
    """The answer to small talk."""
    match kind:
        case "greeting":
            return "Hello! What can I do for you?"
        case "wellbeing":
            return "I'm fine, thank you. What can I do for you?"
        case "thanks":
            return "You're welcome."
        case "goodbye":
            return "Goodbye!"
        case "identity":
            who = f"I'm {name}, your voice assistant." if name else "I'm your voice assistant."
            return f"{who} {offer(profiles)}"
        case "cancel":
            return "Okay, never mind."
        case _:
            return offer(profiles)


def offer(profiles: Sequence[Profile], first: Sequence[Profile] = ()) -> str:
    """What the assistant can do, made of the tools' descriptions."""
    if not profiles:
        return "None of my tools can be reached at the moment, so there is little that I can do."
    near = list(dict.fromkeys(map(ability, first)))[:_MAX_OFFERS]
    others = [one for one in dict.fromkeys(map(ability, profiles)) if one not in near]
    room = _MAX_OFFERS - len(near)
    step = max(1.0, len(others) / max(1, room))
    shown = [*near, *(others[int(step * index)] for index in range(min(room, len(others))))]
    more = ", among other things" if len(others) > room else ""
    return f"I can {listed(shown, 'and')}{more}."


def ability(profile: Profile) -> str:
    """What a tool does, to follow "I can": its description if that begins with a verb, otherwise its name."""
    words = _CLAUSE_END.split(profile.summary, maxsplit=1)[0].split()
    title = profile.title.split()
    verb = words[0].lower() if words else ""
    base = _base(verb)
    if 1 < len(words) <= _MAX_WORDS and (deed_of(verb) or base in VERBS or base in title[:1]):
        return " ".join([base, *words[1:]]).rstrip(".")
    return profile.title if title and (deed_of(title[0]) or title[0] in VERBS) else f"help with {profile.title}"


def _base(verb: str) -> str:
    """Without the s of the third person: returns → return, searches → search."""
    if verb.endswith(("ches", "shes", "sses", "xes")):
        return verb[:-2]
    return verb[:-1] if verb.endswith("s") and not verb.endswith("ss") else verb
