from hypothesis import given
from hypothesis import strategies as st

from tts_worker.engines.engine import Chunks

PIECES = st.lists(st.binary(max_size=20), max_size=20)


def cut(pieces: list[bytes], chunk_bytes: int, skip_bytes: int = 0) -> list[bytes]:
    chunks = Chunks(chunk_bytes, skip_bytes=skip_bytes)
    return [chunk for piece in pieces for chunk in chunks.push(piece)] + list(chunks.rest())


@given(PIECES, st.integers(1, 9), st.integers(0, 60))
def test_chunks_hold_all_bytes_behind_what_was_skipped(pieces: list[bytes], size: int, skip: int) -> None:
    assert b"".join(cut(pieces, size, skip)) == b"".join(pieces)[skip:]


@given(PIECES, st.integers(1, 9))
def test_all_chunks_but_the_last_have_the_same_size(pieces: list[bytes], size: int) -> None:
    *full, last = cut(pieces, size) or [b"x"]
    assert all(len(chunk) == size for chunk in full)
    assert 0 < len(last) <= size


def test_a_chunk_comes_as_soon_as_it_is_full() -> None:
    chunks = Chunks(4)
    assert list(chunks.push(b"abc")) == []
    assert list(chunks.push(b"defghi")) == [b"abcd", b"efgh"]
    assert list(chunks.rest()) == [b"i"]
