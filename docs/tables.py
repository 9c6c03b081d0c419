"""Writes the tables of the documents that are made from the code: `make docs`."""

from pathlib import Path

from voicebus.contract.errors import ERRORS

PROTOCOL = Path(__file__).parent / "protocol.md"
BEGIN, END = "<!-- errors: made by `make docs` -->\n", "<!-- /errors -->"


def with_error_table(text: str) -> str:
    """The document with the table of errors as it is now."""
    rows = [
        f"| `{row.code}` | {row.text} | {row.status} | {row.close or ''} | {'yes' if row.temporary else ''} |"
        for row in ERRORS.values()
    ]
    rows = ["| code | text | HTTP | close | temporary |", "|---|---|---|---|---|", *rows]
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "\n".join(rows) + "\n" + END + after


if __name__ == "__main__":
    PROTOCOL.write_text(with_error_table(PROTOCOL.read_text()))
