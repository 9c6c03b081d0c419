"""Reads a session's log and speech from a position on."""

from voicebus.bus.calls import Calls
from voicebus.bus.items import Page, page_of
from voicebus.contract.errors import Refused
from voicebus.contract.keys import Keys
from voicebus.contract.positions import Position


class Log:
    """The sessions' logs."""

    def __init__(self, calls: Calls, keys: Keys, publish: str) -> None:
        self._calls = calls
        self._keys = keys
        self._publish = publish

    async def read(self, session_id: str, position: Position, *, most_events: int = 256, most_chunks: int = 64) -> Page:
        """What follows the position, oldest first: at most so many, and about 1 MiB of each.

        Raises:
            Refused: `session_not_found`.
        """
        k = self._keys.of(session_id)
        reply = await self._calls.script(
            "read",
            (k.session, k.log, k.speech),
            self._publish,
            "",
            position.epoch,
            position.seq,
            position.speech,
            most_events,
            most_chunks,
        )
        if reply[0] == b"gone":
            raise Refused("session_not_found")
        return page_of(reply, position)
