"""Log lines: one JSON object each for machines, plain text for people. Numbers and secrets never reach them."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.phone import mask_phone

_PHONE = re.compile(r"\+[1-9][0-9]{6,14}")


def _mask_numbers(text: str) -> str:
    return _PHONE.sub(lambda found: mask_phone(found.group()), text)


class _MaskNumbers(logging.Filter):
    """The last line of defence: whatever a library puts into a message, a phone number does not leave in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "+" in message:
            record.msg = _mask_numbers(message)
            record.args = ()
        return True


class _TextFormatter(logging.Formatter):
    def formatException(self, ei: Any) -> str:
        return _mask_numbers(super().formatException(ei))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = _mask_numbers(self.formatException(record.exc_info))
        return json.dumps(line)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002
        return format_instant(datetime.fromtimestamp(record.created, UTC))


def configure_logs(log_format: str, level: int = logging.INFO) -> None:
    """Send all log lines to standard error in `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_MaskNumbers())
    if log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(_TextFormatter("%(asctime)s %(levelname).1s %(name)s: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("uvicorn.access", "httpx", "twilio.http_client", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
