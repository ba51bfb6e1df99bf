"""Versions of reports: each as it was known at its cut-off, kept for good."""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from event_stream_engine.infra.database import Connection
from event_stream_engine.reporting.daily import DailyReport
from event_stream_engine.reporting.weekly import WeeklyReport

Report = DailyReport | WeeklyReport


@dataclass(frozen=True, slots=True)
class Version:
    """A kept version. `last`: the day, or the last day of the week; `confirmed_at`: until when nothing had changed."""

    kind: str
    last: date
    version: int
    zone: str
    cut_off_at: datetime
    confirmed_at: datetime
    reason: str | None
    changed: int


async def load_daily(
    conn: Connection, now: datetime, zone: ZoneInfo, on: date, version: int | None = None
) -> DailyReport:
    """Return a version of a day, the latest when none is named; a day without one is counted now.

    In a snapshot. Errors: Invalid, NotFound.
    """
    raise NotImplementedError


async def load_weekly(
    conn: Connection, now: datetime, zone: ZoneInfo, ending: date, version: int | None = None
) -> WeeklyReport:
    """Return a version of a week, the latest when none is named; a week without one is counted now.

    In a snapshot. Errors: Invalid, NotFound.
    """
    raise NotImplementedError


async def list_versions(
    conn: Connection, kind: str, first: date, last: date
) -> list[Version]:
    """Return all versions of the reports whose last day lies between two dates, the newest first."""
    raise NotImplementedError


async def store(conn: Connection, report: Report) -> bool:
    """Keep a counted report as the version that its frame names; return False when another worker was first.

    In a transaction, in which subscribers are told, too.
    """
    raise NotImplementedError
