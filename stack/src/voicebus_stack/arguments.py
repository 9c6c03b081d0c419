"""What the commands take."""

from argparse import ArgumentTypeError
from pathlib import Path


def port_number(text: str) -> int:
    """The TCP port that is meant; 0 is any.

    Raises:
        ArgumentTypeError: there is no such port.
    """
    if not text.isdecimal() or int(text) > 65_535:
        raise ArgumentTypeError(f"not a port: {text!r}")
    return int(text)


def existing_file(text: str) -> Path:
    """The path of a file.

    Raises:
        ArgumentTypeError: there is none.
    """
    if not Path(text).is_file():
        raise ArgumentTypeError(f"no such file: {text!r}")
    return Path(text)


def words(text: str) -> str:
    """A text that says something.

    Raises:
        ArgumentTypeError: it is empty.
    """
    if not text.strip():
        raise ArgumentTypeError("nothing stands there")
    return text


def token(text: str) -> str:
    """A token, as it goes into an HTTP header. No message shows it.

    Raises:
        ArgumentTypeError: it can't stand there.
    """
    bare = text.strip()
    if not (bare.isascii() and bare.isprintable()) or " " in bare:
        raise ArgumentTypeError("it has characters that no token has")
    return bare
