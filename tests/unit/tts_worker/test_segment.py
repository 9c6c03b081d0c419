import orjson

from tts_worker.speak import Segment
from voicebus.bus.emission import Emission
from voicebus.bus.wire import Arg
from voicebus.contract.mail import Sentence

SENTENCE = Sentence(turn=3, response_id="r1", segment=2, text="Hello there.", agent_type="personal")
CHUNK = b"\1\0" * 960


def segment() -> Segment:
    return Segment("s1", "7-0", SENTENCE, 16_000)


def speech(emission: Emission) -> list[tuple[bool, str | None, bytes]]:
    """Of each speech chunk: whether it is the last one, its text, its audio."""
    operations = emission.operations
    starts = [i for i, part in enumerate(operations) if part == "speech"]
    return [_chunk(*operations[i + 1 : i + 4]) for i in starts]


def _chunk(head: Arg, tail: Arg, audio: Arg) -> tuple[bool, str | None, bytes]:
    assert isinstance(head, bytes)
    assert isinstance(tail, bytes)
    assert isinstance(audio, bytes)
    data = orjson.loads(head + b'"n":1,"after_seq":1,' + tail)["data"]
    assert data["segment"] == 2
    return data["is_last"], data.get("text"), audio


def test_each_write_notes_how_many_samples_are_out() -> None:
    spoken = segment()
    assert spoken.goes_on([CHUNK, CHUNK]).operations[-2:] == ["note", "7-0|1920"]
    assert spoken.goes_on([CHUNK]).operations[-2:] == ["note", "7-0|2880"]


def test_the_first_chunk_carries_the_text_and_the_last_one_says_so() -> None:
    spoken = segment()
    assert speech(spoken.goes_on([CHUNK, CHUNK])) == [(False, "Hello there.", CHUNK), (False, None, CHUNK)]
    end = spoken.ends(b"\2\0")
    assert speech(end) == [(True, None, b"\2\0")]
    assert end.operations[-4:] == ["cursor", "7-0", "note", ""]


def test_a_note_of_the_same_mail_is_taken_up() -> None:
    spoken = segment()
    spoken.go_on_from("7-0|960")
    assert spoken.samples == 960
    assert speech(spoken.ends(CHUNK)) == [(True, None, CHUNK)]


def test_a_note_of_other_mail_is_left_alone() -> None:
    for note in ("", "6-0|960"):
        spoken = segment()
        spoken.go_on_from(note)
        assert spoken.samples == 0


def test_a_sentence_with_nothing_to_speak_has_one_empty_last_chunk() -> None:
    assert speech(segment().ends(b"")) == [(True, "Hello there.", b"")]
