"""Log lines: an event with fields, on stderr. Ids and numbers; never a key, a prompt or a document's text."""

from __future__ import annotations

import logging
import sys

import structlog

QUIET_LOGGERS = (
    "anthropic",  # prints whole requests at DEBUG
    "httpx2",  # a line for each request
    "celery.app.trace",  # two lines for each job, which our own one says better
    "celery.worker.strategy",
    "celery.beat",  # a line for each sweep, every five seconds
)


def configure(level: str) -> None:
    """Set up this process's logging: ours through structlog, everyone else's in the same shape."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=level.upper(), stream=sys.stderr, format="timestamp=%(asctime)s level=%(levelname)s %(name)s: %(message)s"
    )
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
