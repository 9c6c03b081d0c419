"""A recogniser's segments become a transcript."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stt_worker.engines.engine import Transcript, Word
from stt_worker.engines.transcript import Segment, spoken_text, transcript_of


def test_variants_are_words_and_fillers_are_not() -> None:
    segments = [
        Segment("<s>", 0, 100, 1.0),
        Segment("new(2)", 100, 300, 0.5),
        Segment("<sil>", 300, 400, 1.0),
        Segment("[NOISE]", 400, 500, 1.0),
        Segment("++NOISE++", 500, 600, 1.0),
        Segment("york", 600, 900, 1.0),
        Segment("</s>", 900, 990, 1.0),
    ]
    words = (Word("new", 100, 300, 0.5), Word("york", 600, 900, 1.0))
    assert transcript_of(segments) == Transcript("new york", 0.75, words)


def test_nothing_but_fillers_is_nothing() -> None:
    assert transcript_of([Segment("<sil>", 0, 100, 1.0), Segment("[COUGH]", 100, 200, 0.9)]) == Transcript("", 0.0)
    assert transcript_of([]) == Transcript("", 0.0)


@pytest.mark.parametrize(
    ("hypothesis", "text"),
    [("what time is it", "what time is it"), ("", ""), ("<sil> and(3) ++UM++ so", "and so"), ("[NOISE]", "")],
)
def test_a_hypothesis_is_cleaned_like_a_transcript(hypothesis: str, text: str) -> None:
    assert spoken_text(hypothesis) == text


@given(st.lists(st.builds(Segment, st.just("word"), st.just(0), st.just(1), st.floats(-1, 2)), max_size=9))
def test_confidence_lies_between_0_and_1(segments: list[Segment]) -> None:
    transcript = transcript_of(segments)
    assert 0 <= transcript.confidence <= 1
    assert all(0 <= word.confidence <= 1 for word in transcript.words)
