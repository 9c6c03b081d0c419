"""Close codes of the WebSocket, and what a client does after each."""

from enum import IntEnum


class Close(IntEnum):
    """4001 and 4003 are what frontends of the first days know; see `docs/protocol.md` for the table."""

    NORMAL = 1000
    TOO_BIG = 1009
    INTERNAL = 1011
    DRAINING = 1012
    BAD_QUERY = 4400
    NO_SESSION = 4001
    ORIGIN = 4003
    TOKEN = 4401
    NOT_MEMBER = 4403
    TOO_MANY = 4429
    TOO_SLOW = 4508
    ENDED = 4510
