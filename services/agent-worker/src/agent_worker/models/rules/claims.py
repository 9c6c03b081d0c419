"""Which words of a sentence a parameter may take its value from, for values that are recognised by themselves."""

from collections.abc import Iterator, Sequence
from typing import Final

from agent_worker.models.rules.cues import FILLERS, STRONG, Mention
from agent_worker.models.rules.durations import UNIT_SECONDS, Duration
from agent_worker.models.rules.formats import formatted_claims
from agent_worker.models.rules.likeness import SYNONYM, phrase_likeness
from agent_worker.models.rules.moments import Moment
from agent_worker.models.rules.numbers import Number, year_at
from agent_worker.models.rules.places import Claim, Place
from agent_worker.models.rules.schema import Choice, Parameter
from agent_worker.models.rules.sentence import Sentence
from agent_worker.models.rules.tables import word_set
from agent_worker.models.rules.words import PARTICLES, STOP_WORDS, parts_of, stem, words_of

SURE: Final = 1.0  # an optional parameter takes nothing that scores less
_NEGATIONS: Final = frozenset(
    {"no", "not", "don't", "without", "never", "exclude", "excluding", "dont", "non", "isn't", "skip"}
)
YES: Final = word_set("yes yeah yep true sure correct enabled on active affirmative")
NO: Final = word_set("no nope false off disabled inactive negative")
_FLAG_NOISE: Final = frozenset(
    map(stem, word_set("include is has have enable show only with should use do allow send flag make as want"))
)


def claims_of(parameter: Parameter, named: Sequence[Mention], place: Place) -> Iterator[Claim]:
    """All values that a parameter may take, except texts of any words."""
    sentence = place.sentence
    if parameter.choices:
        yield from _choice_claims(parameter, named, place)
    elif parameter.kinds[0] == "boolean":
        yield from _flag_claims(parameter, named, sentence)
    elif kind := moment_kind(parameter):
        yield from _moment_claims(parameter, kind, named, place)
    elif parameter.numeric:
        yield from _number_claims(parameter, named, place)
    elif parameter.textual:
        yield from formatted_claims(parameter, named, place)


def number_value(parameter: Parameter, value: float) -> int | float | None:
    """The number as the parameter takes it; None if it doesn't."""
    if "number" not in parameter.kinds:
        if not float(value).is_integer():
            return None
        value = int(value)
    low, high = parameter.minimum, parameter.maximum
    return None if (low is not None and value < low) or (high is not None and value > high) else value


def choice_matches(choices: Sequence[Choice], sentence: Sentence) -> Iterator[tuple[Choice, int, int, float]]:
    """Where a choice is said, and how exactly: (choice, start, end, likeness)."""
    for choice in choices:
        length = len(choice.stems)
        for start in range(len(sentence) - length + 1):
            said = sentence.stems[start : start + length]
            alike = phrase_likeness(said, choice.stems)
            if alike < 1 and all(sentence.norms[i] in STOP_WORDS for i in range(start, start + length)):
                continue
            if alike:
                yield choice, start, start + length, alike
        yield from _spelled(choice, sentence)


def moment_kind(parameter: Parameter) -> str:
    """What a parameter wants to know of a moment: "day", "time", "moment", "duration" or nothing."""
    if not parameter.textual:
        return ""
    by_format = {"date": "day", "time": "time", "date-time": "moment", "duration": "duration"}.get(parameter.format)
    if by_format or parameter.format:
        return by_format or ""
    name = set(parts_of(parameter.name))
    described = {word.norm for word in words_of(f"{parameter.title} {parameter.description}")}
    if name & {"zone", "timezone", "tz", "format", "week", "name"} or described & {
        "week",
        "weekday",
        "zone",
        "timezone",
    }:
        return ""
    if name & {"datetime", "when", "timestamp"} or (name & {"date"} and name & {"time"}):
        return "moment"
    if name & {"date", "day", "deadline", "birthday", "birthdate", "due"}:
        return "moment" if described & {"time", "datetime", "timestamp", "date-time"} else "day"
    if name & {"time"}:
        return "moment" if described & {"date", "day", "datetime"} else "time"
    if name & {"start", "end", "begin", "from", "to", "until", "since", "at", "starts", "ends", "after", "before"}:
        dated, timed = described & {"date", "day", "iso", "datetime"}, described & {"time", "iso", "datetime"}
        return "moment" if dated and timed else "day" if dated else "time" if timed else ""
    return ""


def moment_value(parameter: Parameter, kind: str, moment: Moment, sentence: Sentence) -> str | None:
    """The moment in the parameter's form (ISO 8601); None if it lacks what the parameter wants."""
    if kind == "day":
        return moment.day.isoformat() if moment.day else None
    if kind == "time":
        return moment.time.isoformat("seconds" if parameter.format else "minutes") if moment.time else None
    if moment.time is None and parameter.format != "date-time":
        return moment.day.isoformat() if moment.day else None
    when = moment.at(sentence.now)
    return (when if parameter.format else when.replace(tzinfo=None)).isoformat(timespec="seconds")


def _choice_claims(parameter: Parameter, named: Sequence[Mention], place: Place) -> Iterator[Claim]:
    sentence = place.sentence
    for choice, start, end, alike in choice_matches(parameter.choices, sentence):
        if alike < SYNONYM and all(one in place.known for one in sentence.stems[start:end]):
            continue  # said as it was meant
        evidence = place.evidence(parameter, named, start, end)
        if sentence.norms[start:end] == [choice.spoken] and choice.spoken in PARTICLES and not evidence:
            evidence = 0.0 if start in place.triggers or parameter.required else -1.0  # "on" is mostly a preposition
        if (
            alike == 1
            or evidence > SURE
            or (parameter.required and alike >= SYNONYM)
            or (parameter.required and end - start > 1)
        ):
            yield Claim(parameter, choice.value, start, end, 0.5 + alike + 0.1 * (end - start) + evidence)
        elif parameter.required:
            yield Claim(parameter, choice.value, start, end, alike)
    numbers = {number.value: number for number in sentence.numbers}
    for choice in parameter.choices:
        if (
            isinstance(choice.value, int)
            and not isinstance(choice.value, bool)
            and (number := numbers.get(choice.value))
        ):
            evidence = place.evidence(parameter, named, number.start, number.end)
            yield Claim(parameter, choice.value, number.start, number.end, SURE + evidence)


def _spelled(choice: Choice, sentence: Sentence) -> Iterator[tuple[Choice, int, int, float]]:
    """A short value that was spelled: "u s d"."""
    letters = choice.spoken.replace(" ", "")
    if 2 <= len(letters) <= 5:
        for start in range(len(sentence) - len(letters) + 1):
            if (
                all(len(norm) == 1 for norm in sentence.norms[start : start + len(letters)])
                and "".join(sentence.norms[start : start + len(letters)]) == letters
            ):
                yield choice, start, start + len(letters), 1.0


def _flag_claims(parameter: Parameter, named: Sequence[Mention], sentence: Sentence) -> Iterator[Claim]:
    core = [one for one in parameter.name_stems if one not in _FLAG_NOISE]
    norms = sentence.norms
    if set(parameter.name_stems) & {stem("on"), stem("enabled"), stem("active"), stem("state"), stem("power")}:
        for at, norm in enumerate(norms):
            if norm in YES | NO - {"no"}:
                yield Claim(parameter, norm in YES, at, at + 1, SURE + 0.5)
    found = list(named)
    found.extend(
        Mention(start, start + len(core), 1.0)
        for start in range(len(norms) - len(core) + 1 if core else 0)
        if phrase_likeness(sentence.stems[start : start + len(core)], core)
    )
    for mention in found:
        after = next((norm for norm in norms[mention.end : mention.end + 3] if norm not in FILLERS), "")
        denied = any(norm in _NEGATIONS for norm in norms[max(0, mention.start - 3) : mention.start])
        value = after not in {"off", "false", "no", "disabled"} and not denied
        said = after in YES | NO and norms.index(after, mention.end)
        yield Claim(parameter, value, mention.start, said + 1 if said else mention.end, 1.5 + mention.weight)


def _moment_claims(parameter: Parameter, kind: str, named: Sequence[Mention], place: Place) -> Iterator[Claim]:
    sentence = place.sentence
    if kind == "duration":
        for duration in sentence.durations:
            evidence = place.evidence(parameter, named, duration.start, duration.end)
            yield Claim(parameter, duration.iso(), duration.start, duration.end, 1.5 + evidence)
        return
    for moment in sentence.moments:
        value = moment_value(parameter, kind, moment, sentence)
        if value is not None:
            evidence = place.evidence(parameter, named, moment.start, moment.end)
            facet = kind if moment.day and moment.time and kind != "moment" else ""
            yield Claim(parameter, value, moment.start, moment.end, 1.2 + evidence, facet)


def _number_claims(parameter: Parameter, named: Sequence[Mention], place: Place) -> Iterator[Claim]:
    sentence = place.sentence
    unit = _time_unit(parameter)
    for duration in sentence.durations if unit else ():
        yield from _duration_claim(parameter, named, place, duration, unit)
    years = [*_years(sentence)] if "year" in parts_of(parameter.name) else []
    for number in [*years, *sentence.numbers]:
        value = number_value(parameter, number.value)
        if value is not None:
            evidence = place.evidence(parameter, named, number.start, number.end)
            evidence += (
                1.2 * (number in years) + 0.4 * place.beside_trigger(number.start, number.end) - 0.5 * number.ordinal
            )
            unit_follows = number.end < len(sentence) and _is_unit(parameter, sentence.norms[number.end])
            yield Claim(parameter, value, number.start, number.end + unit_follows, evidence + 1.5 * unit_follows)


def _years(sentence: Sentence) -> Iterator[Number]:
    for number in sentence.numbers:
        if year := year_at(sentence.norms, number.start):
            yield Number(year[0], number.start, year[1])


def _duration_claim(
    parameter: Parameter, named: Sequence[Mention], place: Place, duration: Duration, unit: int
) -> Iterator[Claim]:
    value = number_value(parameter, duration.seconds / unit)
    if value is not None:
        value = int(value) if float(value).is_integer() else value
        evidence = place.evidence(parameter, named, duration.start, duration.end)
        yield Claim(parameter, value, duration.start, duration.end, 2.0 + evidence)


def _time_unit(parameter: Parameter) -> int:
    """The seconds in the unit of time that the parameter counts in; 0 if it doesn't."""
    for words in (parts_of(parameter.name), [word.norm for word in words_of(parameter.description)]):
        for word in words:
            if word in UNIT_SECONDS and word not in {"second", "day", "hour"}:
                return UNIT_SECONDS[word]
    return 0


def _is_unit(parameter: Parameter, norm: str) -> bool:
    """Whether the word after a number is the unit that the parameter's description names: percent, degrees."""
    said = stem(norm)
    if norm in STOP_WORDS or not norm.isalpha():
        return False
    described = {word.stem for word in words_of(parameter.description) if word.norm not in STOP_WORDS}
    return said in described - set(parameter.name_stems)


def free_text(sentence: Sentence) -> frozenset[int]:
    """The words behind "called" or "saying": names and messages, in which nothing else is looked for unless it must."""
    for at, norm in enumerate(sentence.norms):
        if norm in STRONG:
            return frozenset(range(at + 1, len(sentence)))
    return frozenset()
