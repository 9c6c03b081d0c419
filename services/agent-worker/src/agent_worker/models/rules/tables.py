"""Tables of words, written as text."""

import re


def word_set(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


def rows(text: str) -> dict[str, tuple[str, ...]]:
    """Rows such as "from: origin source" as the word before the colon → the others.

    They are parted by semicolons or new lines; a line without a colon goes on with the row before it.
    """
    table: dict[str, tuple[str, ...]] = {}
    key = ""
    for row in re.split(r"[\n;]", text):
        before, colon, rest = row.rpartition(":")
        key = before.strip() if colon else key
        if rest.strip():
            table[key] = (*table.get(key, ()), *rest.split())
    return table
