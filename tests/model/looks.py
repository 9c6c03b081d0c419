"""What the pure model is told: of scripts that were executed, and of what Redis holds."""

from typing import Any

from model.expected import Expected, Look
from model.faults import Call
from model.interruptions import Interruption

from voicebus.contract.keys import STAGES, SessionKeys


def tell(expected: Expected, call: Call, reply: Any, now_ms: int) -> None:
    """A script gave this reply."""
    word, args = reply[0], call.args
    stage: Any = args[3] if call.script == "next" else args[2] if len(args) > 2 else ""
    if call.script == "lease" and word == b"ok":
        expected.granted(stage, reply[1].decode(), now_ms, now_ms + int(args[-1]))
    elif call.script == "renew" and word == b"ok":
        expected.renewed(stage, str(args[3]), now_ms + int(args[-1]))
    elif call.script in ("release", "handover") and word == b"ok":
        expected.given_back(stage, str(args[3]))
    elif call.script == "next" and word == b"mail":
        expected.given(stage, reply[1].decode(), str(args[4]))
    elif call.script == "approve":
        message_id, _, call_id, said, *_ = args[2:]
        expected.approvals.said(str(message_id), str(call_id), str(said), word.decode(), now_ms)
    elif call.script == "played" and word == b"ok":
        turn, segment, ms = (int(arg) for arg in args[2:])
        expected.hearing.pass_time(now_ms)
        expected.hearing.reported(turn, segment, ms)


def interruption_of(call: Call, reply: Any) -> Interruption | None:
    """What the script that gave this reply was to cut, if it came to that."""
    if call.script == "interrupt" and reply[0] in (b"ok", b"nothing"):
        _, _, _, message_id, _, named, played, _, token = map(str, call.args)
        return Interruption(message_id, int(named or 0) or None, int(played) if played else None, token=token)
    if call.script == "submit" and reply[0] == b"ok" and call.args[8]:
        return Interruption(str(call.args[3]), None, None, opens=True)
    return None


def turns_of(mailbox: list[Any]) -> list[int]:
    """The turns of a mailbox's entries."""
    return [int(_pairs(entry[1])[b"t"]) for entry in mailbox]


def questions(k: SessionKeys, expected: Expected) -> list[tuple[str, ...]]:
    """The commands whose replies `look_of` takes."""
    return [
        ("HGETALL", k.session),
        ("XRANGE", k.log, f"({expected.looked}-0", "+"),
        ("XRANGE", k.log, "-", "+", "COUNT", "1"),
        ("XRANGE", k.speech, "-", "+"),
        *(("XRANGE", k.mail(stage), "-", "+") for stage in STAGES),
        *(("ZSCORE", k.ready(stage), k.session_id) for stage in STAGES),
        *(("XRANGE", k.dead(stage), "-", "+") for stage in STAGES),
    ]


def look_of(replies: list[Any], name: str) -> Look:
    """What the replies to `questions` show of this session."""
    fields, log, first, speech, *rest = replies
    boxes, scores, letters = rest[:3], rest[3:6], rest[6:]
    return Look(
        fields=_pairs(fields),
        log=[(_seq(entry), entry[1][1]) for entry in log],
        first_seq=_seq(first[0]) if first else 1,
        speech=[_seq(entry) for entry in speech],
        mail={
            stage: {entry[0].decode(): _pairs(entry[1]) for entry in box}
            for stage, box in zip(STAGES, boxes, strict=True)
        },
        ready={stage: None if score is None else float(score) for stage, score in zip(STAGES, scores, strict=True)},
        dead={
            stage: [pairs for entry in box if (pairs := _pairs(entry[1]))[b"sid"] == name.encode()]
            for stage, box in zip(STAGES, letters, strict=True)
        },
    )


def _seq(entry: list[Any]) -> int:
    return int(entry[0].partition(b"-")[0])


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
