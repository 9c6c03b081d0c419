"""Step ⑤: an answer's tokens become sentences that can be spoken while the rest is still being written."""

import re
from collections.abc import Iterator

from livekit import blingfire

MAX_SENTENCE_CHARS = 220
MAX_FENCE_CHARS = 1000

# A dot may also abbreviate, and an ellipsis trail off; the other marks are sure.
_SURE_MARKS = "!?\N{ARABIC QUESTION MARK}\N{ARABIC FULL STOP}\N{DEVANAGARI DANDA}"
_MARKS = f".\N{HORIZONTAL ELLIPSIS}{_SURE_MARKS}"
_WIDE_MARKS = "\N{IDEOGRAPHIC FULL STOP}\N{FULLWIDTH EXCLAMATION MARK}\N{FULLWIDTH QUESTION MARK}"
_WIDE_COMMAS = "\N{IDEOGRAPHIC COMMA}\N{FULLWIDTH COMMA}\N{FULLWIDTH SEMICOLON}\N{FULLWIDTH COLON}"
_WIDE_CLOSERS = "\N{RIGHT CORNER BRACKET}\N{RIGHT WHITE CORNER BRACKET}\N{FULLWIDTH RIGHT PARENTHESIS}"
_QUOTES = (
    "\"'\N{RIGHT DOUBLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK})]"
)
_EMPHASIS = "*_~`"
_DASHES = "\N{EN DASH}\N{EM DASH}"

_CLOSERS = re.escape(_QUOTES + _EMPHASIS)
_WIDE_TAIL = re.escape(_WIDE_MARKS + _WIDE_CLOSERS + _QUOTES)
_WORD = re.compile(r"[^\W_]")
# Up to the first character of the next word: "Mr. S" and "It is. S" can be told apart only there.
_SPACED_END = re.compile(rf"[{_MARKS}][{_CLOSERS}]*(?P<cut>)[^\S\n]+[^\w\n]*?(?P<next>[^\W_])")
# Scripts without spaces: certain as soon as no further mark or closing quote follows.
_UNSPACED_END = re.compile(rf"[{_WIDE_MARKS}][{_WIDE_TAIL}]*(?P<cut>)[^{_WIDE_TAIL}]")
_FINISHED_LINE = re.compile(rf"[:{_MARKS}{_WIDE_MARKS}][{_CLOSERS}]*(?P<cut>)[^\S\n]*\n")
_LINE = re.compile(r"(?P<cut>)\n[ \t]*(?P<next>[^ \t])")
_CLAUSE_END = re.compile(rf"[,;:{_DASHES}](?=\s)|[{_WIDE_COMMAS}]")

_CLOCK = re.compile(r"\b[ap]\.m\.$", re.IGNORECASE)
_LIST_NUMBER = re.compile(r"^\W*(\d{1,3}|[A-Za-z])\.$")

_FENCE_MARK = re.compile(r"`{3,}|~{3,}")
_FENCE_OPENING = re.compile(r"(?P<mark>`{3,}|~{3,})[^`\n]*\n")


class SentenceSplitter:
    """Takes text in pieces of any size and gives each sentence as soon as it is surely complete.

    How the text was cut into pieces never changes the sentences. Together they hold every word in order; lines and
    remainders without a letter or digit are dropped. A sentence is longer than `max_chars` only if it is a block of
    fenced code, which stays in one piece (up to `MAX_FENCE_CHARS`, then it is closed and opened again), so that
    whoever speaks it can tell that it is code. No sentence begins or ends with white space.
    """

    def __init__(self, *, max_chars: int = MAX_SENTENCE_CHARS) -> None:
        self._max_chars = max_chars
        self._buffer = ""

    def feed(self, text: str) -> list[str]:
        """Add `text`; returns the sentences that it completed, often none."""
        self._buffer = (self._buffer + text).lstrip()
        return [sentence for sentence in self._complete() if _WORD.search(sentence)]

    def flush(self) -> list[str]:
        """Return what is left (no sentence or one) at the end of the text; the splitter can then be used anew."""
        rest, self._buffer = self._buffer.rstrip(), ""
        return [rest] if _WORD.search(rest) else []

    def _complete(self) -> Iterator[str]:
        while True:
            fence = self._fence()
            if fence is None:
                return
            cut = _fence_cut(self._buffer, fence) if fence else _cut(self._buffer, self._max_chars)
            if cut is None:
                return
            sentence, rest = self._buffer[:cut].rstrip(), self._buffer[cut:].lstrip()
            if fence and not _closing(fence).search(sentence):
                sentence, rest = f"{sentence}\n{fence}", f"{fence}\n{rest}"
            self._buffer = rest
            yield sentence

    def _fence(self) -> str | None:
        """The mark of the code fence that the buffer opens with: empty without one, None while its line isn't whole."""
        window = self._buffer[: self._max_chars + 1]
        if not _FENCE_MARK.match(window):
            return ""
        if opening := _FENCE_OPENING.match(window):
            return opening["mark"]
        return "" if "\n" in window or len(window) > self._max_chars else None


def _cut(buffer: str, max_chars: int) -> int | None:
    """Where the first sentence ends; None while that isn't certain.

    Each possible end has a length of text from which on it is known. They are judged in this order, never by how much
    text happens to have come already; that keeps the result independent of the pieces.
    """
    window = buffer[: max_chars + 1]
    if ends := sorted(_ends(window)):
        return ends[0][1]
    return _long_cut(window, max_chars) if len(window) > max_chars else None


def _ends(window: str) -> Iterator[tuple[int, int]]:
    """All sentence ends in `window`, each as (known from this length on, where to cut)."""
    for match in _SPACED_END.finditer(window):
        if _ends_sentence(window[: match.start("cut")], match["next"]):
            yield match.end(), match.start("cut")
    for pattern in (_UNSPACED_END, _FINISHED_LINE):
        for match in pattern.finditer(window):
            yield match.end(), match.start("cut")
    for match in _LINE.finditer(window):
        if not match["next"].islower():  # a line that goes on in lower case was only wrapped
            yield match.end(), match.start("cut")


def _ends_sentence(head: str, following: str) -> bool:
    """Whether the mark at the end of `head` ends a sentence; `following` is the first character of the next word."""
    if following.islower():
        return False
    bare = head.rstrip(_EMPHASIS)
    if bare.rstrip(_QUOTES + _EMPHASIS)[-1:] in _SURE_MARKS:
        return True
    if _LIST_NUMBER.search(bare):
        return False
    if _CLOCK.search(bare):
        return not following.isdigit()
    _, spans = blingfire.text_to_sentences_with_offsets(f"{bare} {following}")
    return any(start == len(bare) + 1 for start, _ in spans)


def _long_cut(window: str, max_chars: int) -> int:
    """Where to cut a text that is too long: behind a clause in its second half, else at a space, else anywhere."""
    clauses = [match.end() for match in _CLAUSE_END.finditer(window, max_chars // 2, max_chars)]
    if clauses:
        return clauses[-1]
    space = max(window.rfind(white, 1) for white in " \t\n")
    return space if space > 0 else max_chars


def _closing(fence: str) -> re.Pattern[str]:
    return re.compile(rf"\n[ \t]*{re.escape(fence)}{re.escape(fence[0])}*[ \t]*(?=\n|$)")


def _fence_cut(buffer: str, fence: str) -> int | None:
    window = buffer[: MAX_FENCE_CHARS + 1]
    closing = _closing(fence).search(window)
    if closing and closing.end() < len(window):  # the line is whole: a newline follows
        return closing.end()
    if len(window) <= MAX_FENCE_CHARS:
        return None
    opening_end = window.index("\n")
    line_end = window.rfind("\n", opening_end + 1)
    return line_end if line_end > opening_end else MAX_FENCE_CHARS
