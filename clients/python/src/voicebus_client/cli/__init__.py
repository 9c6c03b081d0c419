"""The command line: `voicebus`, or `python -m voicebus_client`.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no gateway answers, 130 interrupted.
"""

from voicebus_client.cli.app import main, run
from voicebus_client.cli.running import DONE, FAILED, INTERRUPTED, UNREACHABLE, USAGE

__all__ = ["DONE", "FAILED", "INTERRUPTED", "UNREACHABLE", "USAGE", "main", "run"]
