"""A turn compared with an undisturbed one."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from zlib import crc32

from faults.conversation import Conversation, conversation
from faults.tally import Tally
from faults.turns import Heard


@dataclass
class Comparison:
    """What is not as it should be, counted and in words."""

    tally: Tally = field(default_factory=Tally)
    faults: list[str] = field(default_factory=list)

    def check(self, name: str, wanted: Sequence[object], got: Sequence[object]) -> None:
        """Two sequences that should be equal."""
        found = compared(wanted, got)
        if found != Tally():
            self.tally += found
            self.faults.append(f"{name}: {difference(wanted, got)}")

    def add(self, other: "Comparison", of: str) -> None:
        """What was found of another turn."""
        self.tally += other.tally
        self.faults += [f"{of}: {fault}" for fault in other.faults]


def compared(wanted: Sequence[object], got: Sequence[object]) -> Tally:
    """As `Tally.of`, of sequences in which things may occur more than once."""
    texts = [_text(item) for item in wanted]
    counts = Counter(texts)
    return Tally.of(_numbered(texts, counts), _numbered(map(_text, got), counts))


def _numbered(items: Iterable[str], most: Counter[str]) -> list[tuple[str, int]]:
    """Which of its kind each is; one too many is the last one again."""
    seen: Counter[str] = Counter()
    found = []
    for item in items:
        seen[item] += 1
        found.append((item, min(seen[item], most[item] or 1)))
    return found


def _text(item: object) -> str:
    return json.dumps(item, sort_keys=True, default=repr)


def compare_turns(wanted: Heard, got: Heard, *, unknown: Sequence[str] = ()) -> Comparison:
    """What the client has in the end. Calls of the tools in `unknown` may have an outcome that nobody knows."""
    found = Comparison()
    usual, other = conversation(wanted.events), conversation(got.events)
    if unknown:
        _excuse(usual, other, unknown)
    found.check("events", usual.events, other.events)
    found.check("numbers", range(1, len(numbers(got)) + 1), numbers(got))
    found.check("audio", _sounds(usual), _sounds(other))
    if other.late:
        found.tally += Tally(misplaced=other.late)
        found.faults.append(f"{other.late} chunks of an abandoned response")
    return found


def compare_answers(wanted: Heard, got: Heard) -> Comparison:
    """What the client has of one turn in the end, compared with one turn that may have another number."""
    found = Comparison()
    usual, other = (
        conversation(event for event in heard.events if event.turn == heard.turn) for heard in (wanted, got)
    )
    found.check("events", [(kind, data) for kind, _, data in usual.events], [(k, data) for k, _, data in other.events])
    found.check("audio", _sounds(usual), _sounds(other))
    return found


def _excuse(usual: Conversation, other: Conversation, tools: Sequence[str]) -> None:
    """An outcome that may be unknown and is so is what the undisturbed turn is thought to have had."""
    results = {data["tool_name"]: data for data in other.of("tool_result") if data["outcome"] == "unknown"}
    usual.events = [
        (kind, turn, results[data["tool_name"]])
        if kind == "tool_result" and data["tool_name"] in tools and data["tool_name"] in results
        else (kind, turn, data)
        for kind, turn, data in usual.events
    ]


def _sounds(turn: Conversation) -> list[tuple[int, int, int]]:
    """Each segment's number, length in bytes and checksum."""
    return [(segment, len(audio), crc32(audio)) for segment, audio in turn.speech.items()]


def numbers(heard: Heard) -> list[int]:
    """Of the durable events."""
    return [event.seq for event in heard.events if event.seq is not None]


def outcomes(heard: Heard) -> dict[str, str]:
    """Of the tool calls, by the tool's name."""
    return {event.data["tool_name"]: event.data["outcome"] for event in heard.events if event.type == "tool_result"}


def difference(wanted: Sequence[object], got: Sequence[object]) -> str:
    """Where they part."""
    pairs = enumerate(zip_longest(wanted, got))
    return next((f"{i}: {b!r:.300} instead of {a!r:.300}" for i, (a, b) in pairs if a != b), "")
