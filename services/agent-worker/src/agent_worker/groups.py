"""Task groups whose tasks fail with one reason."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def first_reason() -> Iterator[None]:
    """Around a task group: raises the first error of its tasks itself instead of a group of them."""
    try:
        yield
    except ExceptionGroup as group:
        error: Exception = group
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from None
