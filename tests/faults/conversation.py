"""What a client that follows the protocol has of a conversation in the end, without what differs from run to run."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from voicebus_client.events import Event

# What is measured or made anew in each run.
_VOLATILE = {"user": ("id",), "tool_result": ("duration_ms",)}
_IDS = ("response_id", "tool_call_id")


@dataclass
class Conversation:
    """Durable events as (type, turn, data), tokens of a response joined, and the speech of each segment.

    `restarts` counts responses that were begun anew, `repeated` sentences of which speech came twice, `late` chunks
    of an abandoned response that came behind the event which abandoned it.
    """

    events: list[tuple[str, int | None, dict[str, Any]]] = field(default_factory=list)
    speech: dict[int, bytes] = field(default_factory=dict)
    restarts: int = 0
    repeated: int = 0
    late: int = 0

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of the events of a type."""
        return [data for name, _, data in self.events if name == kind]


def conversation(events: Iterable[Event]) -> Conversation:
    """Follows the events in the order in which they came."""
    kept: list[Event] = []
    chunks: dict[tuple[int, str], bytearray] = {}
    complete: dict[int, list[str]] = {}
    abandoned: set[str] = set()
    made = Conversation()
    for event in events:
        if event.type == "tts":
            segment, response = event.data["segment"], event.data["response_id"]
            made.late += response in abandoned
            chunks.setdefault((segment, response), bytearray()).extend(event.audio)
            if event.data["is_last"]:
                complete.setdefault(segment, []).append(response)
        elif event.type == "response_restarted":
            made.restarts += 1
            abandoned.add(event.data["response_id"])
            kept = [earlier for earlier in kept if not _discarded(earlier, event)]
        elif event.seq is not None:
            kept.append(event)
    made.events = _named(_joined(kept))
    made.speech = {segment: bytes(chunks[segment, by[-1]]) for segment, by in sorted(complete.items())}
    made.repeated = len(chunks) - len({segment for segment, _ in chunks})
    return made


def _discarded(event: Event, restarted: Event) -> bool:
    return (
        event.type == "token"
        and event.seq is not None
        and event.seq >= restarted.data["discard_from_seq"]
        and event.data["response_id"] == restarted.data["response_id"]
    )


def _joined(events: Iterable[Event]) -> list[tuple[str, int | None, dict[str, Any]]]:
    found: list[tuple[str, int | None, dict[str, Any]]] = []
    for event in events:
        data = {name: value for name, value in event.data.items() if name not in _VOLATILE.get(event.type, ())}
        last = found[-1][2] if found and found[-1][0] == event.type == "token" else None
        if last is not None and last["response_id"] == data["response_id"]:
            last["token"] += data["token"]
        else:
            found.append((event.type, event.turn, data))
    return found


def _named(events: list[tuple[str, int | None, dict[str, Any]]]) -> list[tuple[str, int | None, dict[str, Any]]]:
    """With ids that say which one it is, instead of random ones."""
    names: dict[str, str] = {}
    for _, _, data in events:
        for name in _IDS:
            if name in data:
                data[name] = names.setdefault(data[name], f"{name} {len(names) + 1}")
    return events
