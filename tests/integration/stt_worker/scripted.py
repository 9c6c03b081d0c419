"""An engine that does what the test says, utterance by utterance."""

import asyncio
from enum import Enum, auto

from stt_worker.engines.engine import RecognitionError, Transcript
from stt_worker.engines.instant import InstantDecoding, InstantEngine


class Fault(Enum):
    """What goes wrong with an utterance."""

    STUCK = auto()  # it never begins
    UNOPENED = auto()  # it is lost before it begins
    LOST = auto()  # it is lost at its end


class ScriptedEngine(InstantEngine):
    """Understands these texts, one each utterance and the last one in all that follow, unless a fault stands there."""

    def __init__(self, *script: str | Fault) -> None:
        super().__init__("")
        self._script = script
        self.opened = 0
        self.stuck = asyncio.Event()

    async def open(self) -> InstantDecoding:
        step = self._script[min(self.opened, len(self._script) - 1)]
        self.opened += 1
        match step:
            case Fault.STUCK:
                self.stuck.set()
                await asyncio.Event().wait()
            case Fault.UNOPENED:
                raise RecognitionError("lost")
            case Fault.LOST:
                return LostDecoding("lost")
            case text:
                return InstantDecoding(str(text))
        raise AssertionError("a stuck utterance goes on")


class LostDecoding(InstantDecoding):
    async def finish(self) -> Transcript:
        raise RecognitionError("lost")
