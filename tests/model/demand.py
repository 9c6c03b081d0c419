"""How the model complains."""


class Violation(AssertionError):
    """The bus broke a promise."""


def demand(holds: object, *what: object) -> None:
    """Raises `Violation` with what was found unless it holds."""
    if not holds:
        raise Violation(" ".join(str(part) for part in what))
