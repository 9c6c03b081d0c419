"""Structured logs: JSON in containers, readable in a terminal, one canonical line per turn and stage."""

import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import structlog
from structlog.processors import ExceptionRenderer
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor


def configure_logs(service: str, *, level: str = "info", output: Literal["auto", "json", "console"] = "auto") -> None:
    """Sets logging up once, at the start of a process; what libraries log takes the same way."""
    console = output == "console" or (output == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(
            pad_event_to=24,
            colors=not os.environ.get("NO_COLOR"),
            exception_formatter=structlog.dev.plain_traceback,
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    # No local variables: they hold tokens and what people said.
    tracebacks = ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
    last: list[Processor] = [renderer] if console else [tracebacks, renderer]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("httpx", "httpx2", "httpcore", "httpcore2", "mcp", "openai", "asyncio", "uvicorn"):
        logging.getLogger(chatty).setLevel("WARNING")
    structlog.contextvars.bind_contextvars(service=service)


def trace_id(session_id: str, turn: int) -> str:
    """The turn's trace, 32 hex digits: the same in every service, without being sent along."""
    return hashlib.blake2b(f"{session_id}/{turn}".encode(), digest_size=16).hexdigest()


@contextmanager
def canonical_line(event: str, *, session_id: str, turn: int, **fields: Any) -> Iterator[dict[str, Any]]:
    """Binds session, turn and trace while inside, and logs one line at the end.

    The line has all that was put into the yielded dict, `outcome` (`ok` unless set, or the exception's name) and
    `duration_ms`.
    """
    line: dict[str, Any] = dict(fields)
    began = time.perf_counter()
    with structlog.contextvars.bound_contextvars(session=session_id, turn=turn, trace=trace_id(session_id, turn)):
        try:
            yield line
        except BaseException as error:
            line.setdefault("outcome", type(error).__name__)
            raise
        finally:
            line.setdefault("outcome", "ok")
            line["duration_ms"] = round((time.perf_counter() - began) * 1000, 1)
            structlog.get_logger().info(event, **line)
