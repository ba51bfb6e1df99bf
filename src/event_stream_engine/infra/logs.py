"""Log lines: one JSON object each for machines, plain text for people. Numbers and secrets never reach them.

A line carries what it speaks of in fields of its own: those of `extra`, those of the task it is written in
(`carry_log_fields`), and the ids of the present trace.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from event_stream_engine.infra import tracing
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.phone import mask_phone

_PHONE = re.compile(r"(?:\+|%2[Bb])([1-9][0-9]{6,14})")  # also as it stands in an address
_FIELDS: ContextVar[Mapping[str, str]] = ContextVar("log_fields", default={})  # noqa: B039 - never changed in place
# What every record has; the rest is `extra`. uvicorn's colours are for a terminal alone.
_STANDARD = frozenset(
    [*logging.makeLogRecord({}).__dict__, "message", "asctime", "taskName", "color_message"]
)


def carry_log_fields(**fields: str) -> None:
    """Put fields on every line that the present task writes from here on, and the tasks that it begins."""
    _FIELDS.set({**_FIELDS.get(), **fields})


def _mask_numbers(text: str) -> str:
    return _PHONE.sub(lambda found: mask_phone(f"+{found[1]}"), text)


def _mask(value: object) -> Any:
    """Return a value for JSON without numbers, however deep they are."""
    match value:
        case bool() | int() | float() | None:
            return value
        case Mapping():
            return {_mask_numbers(str(key)): _mask(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_mask(inner) for inner in value]
    return _mask_numbers(str(value))


def _list_fields(record: logging.LogRecord) -> dict[str, Any]:
    extra = {name: value for name, value in record.__dict__.items() if name not in _STANDARD}
    return {name: _mask(value) for name, value in {**_FIELDS.get(), **extra}.items()}


class _MaskNumbers(logging.Filter):
    """The last line of defence: whatever a library puts into a message, a phone number does not leave in it."""

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        if "+" in message or "%2" in message:
            record.msg = _mask_numbers(message)
            record.args = ()
        return True


class _TextFormatter(logging.Formatter):
    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _list_fields(record).items())
        return super().formatMessage(record) + (f" ({fields})" if fields else "")

    def formatException(self, ei: Any) -> str:
        return _mask_numbers(super().formatException(ei))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "at": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if (ids := tracing.find_ids()) is not None:
            line["trace_id"], line["span_id"] = ids
        line |= {name: value for name, value in _list_fields(record).items() if name not in line}
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
