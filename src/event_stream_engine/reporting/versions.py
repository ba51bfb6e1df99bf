"""Versions of reports: each as it was known at its cut-off, kept for good.

A body is a whole report as JSON. What is added to a report later needs a default, so that old bodies can still be read.
"""

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import NotFound
from event_stream_engine.reporting.daily import DailyReport, count_daily
from event_stream_engine.reporting.report import DAILY, WEEKLY
from event_stream_engine.reporting.weekly import WeeklyReport, count_weekly

Report = DailyReport | WeeklyReport

SQL = load_queries(__package__)
_DAILY, _WEEKLY = TypeAdapter(DailyReport), TypeAdapter(WeeklyReport)


@dataclass(frozen=True, slots=True)
class Version:
    """A kept version. `last_day`: the day, or the last day of the week; `confirmed_at`: when nothing had changed yet.

    `reason` None: the first version; `changed`: how many figures were not what they had been.
    """

    kind: str
    last_day: date
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
    return await find_daily(conn, on, version) or await count_daily(conn, now, zone, on)


async def load_weekly(
    conn: Connection, now: datetime, zone: ZoneInfo, ending: date, version: int | None = None
) -> WeeklyReport:
    """Return a version of a week, the latest when none is named; a week without one is counted now.

    In a snapshot. Errors: Invalid, NotFound.
    """
    return await find_weekly(conn, ending, version) or await count_weekly(conn, now, zone, ending)


async def find_daily(conn: Connection, on: date, version: int | None = None) -> DailyReport | None:
    """Return a version of a day, the latest when none is named. Errors: NotFound when a named one is not there."""
    body = await _find_body(conn, DAILY, on, version)
    return None if body is None else _DAILY.validate_python(body)


async def find_weekly(conn: Connection, ending: date, version: int | None = None) -> WeeklyReport | None:
    """Return a version of a week, the latest when none is named. Errors: NotFound when a named one is not there."""
    body = await _find_body(conn, WEEKLY, ending, version)
    return None if body is None else _WEEKLY.validate_python(body)


async def _find_body(conn: Connection, kind: str, last_day: date, version: int | None) -> object | None:
    asked = {"kind": kind, "last_day": last_day, "version": version}
    body: object | None = await SQL.load_body.value(conn, asked)
    if body is None and version is not None:
        raise NotFound(
            f"There is no version {version} of the {kind} report of {last_day}. GET /api/v1/reports lists them."
        )
    return body


async def list_versions(conn: Connection, kind: str, first: date, last: date) -> list[Version]:
    """Return all versions of the reports whose last day lies between two days, the newest first."""
    asked = {"kind": kind, "first": first, "last": last}
    return await SQL.list_versions.many(conn, Version, asked)


async def store(conn: Connection, report: Report) -> bool:
    """Keep a report as the version that its frame names; return False when another worker has made that one."""
    frame = report.frame
    body = (
        _DAILY.dump_python(report, mode="json")
        if isinstance(report, DailyReport)
        else _WEEKLY.dump_python(report, mode="json")
    )
    return bool(
        await SQL.store_version.execute(
            conn,
            {
                "kind": frame.kind,
                "last_day": frame.last,
                "version": frame.version,
                "zone": frame.zone,
                "cut_off_at": frame.cut_off_at,
                "body": Jsonb(body),
            },
        )
    )


async def confirm(conn: Connection, report: Report, at: datetime) -> None:
    """Note that the figures of a version were still the same."""
    frame = report.frame
    asked = {"kind": frame.kind, "last_day": frame.last, "version": frame.version, "at": at}
    await SQL.confirm_version.execute(conn, asked)
