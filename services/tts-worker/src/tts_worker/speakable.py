"""What one would read aloud of a text that was written to be seen."""

import re
from collections.abc import Iterable, Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

# A sentence may begin with spaces, so indented text isn't taken for code; HTML and SSML are only text.
_MARKDOWN = MarkdownIt("js-default").disable("code")

_URL = re.compile(r"\b(?:https?|wss?|ftp)://(?:www\.)?(?P<host>[\w.-]*\w)(?:[^\s<>()\"']*[\w/])?", re.IGNORECASE)
# Marks whose partner stands in another sentence. They hold on to one side of a word; those of `snake_case`, `2*3` and
# `2 * 3` don't.
_STRAY_EMPHASIS = re.compile(r"(?<!\w)(?:[*_]|~~)+(?=\S)|(?<=\S)(?:[*_]|~~)+(?!\w)|\*\*|`+")
_UNSPOKEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u200d\u20e3\ufe0e\ufe0f\U000e0020-\U000e007f]+"
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
# Most sentences are one line of words, which Markdown leaves as it is: it need not be parsed.
_PLAIN = re.compile(r"[^\W\d_](?:[^\W_]|[ ,.;!?'\"()-])*")
_ENDED = re.compile(r"[.!?:;,\u2026\u3002\uff01\uff1f\u061f\u0964][\"'\u201d\u2019)\]]*$")


def speakable(text: str) -> str:
    """Return the words of `text` in one line: without Markdown, blocks of code, pictographs and the paths of URLs.

    Headings, list items and rows that end without a mark get a full stop, so that a pause is heard where a new line
    is seen. Empty if there is nothing to say: neither a letter nor a digit.
    """
    if _PLAIN.fullmatch(text):
        return " ".join(text.split())
    return _read_aloud(text)


def _read_aloud(text: str) -> str:
    spoken = ""
    for block in _blocks(_MARKDOWN.parse(_UNSPOKEN.sub(" ", text))):
        stop = "" if not spoken or _ENDED.search(spoken) else "."
        spoken = f"{spoken}{stop} {block}"
    return spoken.strip() if has_words(spoken) else ""


def has_words(text: str) -> bool:
    """Whether `text` has a letter or digit, of any script."""
    return any(character.isalnum() for character in text)


def one_line(text: str) -> str:
    """Return `text` without control characters and lone surrogates, each white space made one blank."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def _blocks(tokens: Iterable[Token]) -> Iterator[str]:
    """The spoken text of each paragraph, heading, list item and table row."""
    number = ""
    row: list[str] | None = None
    for token in tokens:
        if token.type == "list_item_open":
            number = f"{token.info}{token.markup} " if token.info else ""
        elif token.type == "tr_open":
            row = []
        elif token.type == "tr_close" and row is not None:
            yield ", ".join(row)
            row = None
        elif token.type == "inline" and (line := _inline(token)):
            if row is None:
                yield number + line
            else:
                row.append(line)
            number = ""


def _inline(token: Token) -> str:
    spoken = "".join(_run(child) for child in token.children or [])
    cells = one_line(_URL.sub(lambda url: url["host"], spoken)).strip("| ")
    return ", ".join(cell.strip() for cell in cells.split("|") if has_words(cell)) if "|" in cells else cells


def _run(token: Token) -> str:
    if token.type == "code_inline":
        return token.content
    if token.type == "image":
        return token.content  # its alternative text
    if token.type in {"softbreak", "hardbreak"}:
        return " "
    return _STRAY_EMPHASIS.sub("", token.content) if token.type == "text" else ""
