"""What every worker's process does, whatever its work."""

import sys
from collections.abc import Coroutine
from typing import Any

import structlog
import uvloop

from voicebus.chassis import metrics
from voicebus.chassis.logs import configure_logs
from voicebus.chassis.settings import ServiceSettings
from voicebus.contract.errors import VoicebusError

_log = structlog.get_logger(__name__)


def run_process(
    service: str,
    work: Coroutine[Any, Any, None],
    *,
    settings: ServiceSettings,
    unusable: tuple[type[Exception], ...] = (),
) -> None:
    """Sets up the logs and does all the work of a process.

    A `VoicebusError`, or an error of the kinds in `unusable`, says that the service can't run as it is installed and
    configured: it is logged without a traceback, and the process exits with 1.
    """
    known: tuple[type[Exception], ...] = (VoicebusError, *unusable)
    configure_logs(service, level=settings.log_level, output=settings.log_format)
    metrics.note_build(service)
    try:
        uvloop.run(work)
    except known as error:
        _log.error("service_unusable", reason=str(error))
        sys.exit(1)
    except ExceptionGroup as group:  # of what runs beside the work
        if group.split(known)[1] is not None:
            raise
        _log.error("service_unusable", reason=str(_first_of(group)))
        sys.exit(1)


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first
