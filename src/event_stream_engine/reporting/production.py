"""Making reports: what is due is counted in a snapshot, then kept in a transaction.

Any number of workers may do it at once. Two that count the same report make the same version; the database keeps the one
that comes first. What was counted and not kept, because a worker was killed, is due still.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.reporting import versions
from event_stream_engine.reporting.comparison import Named, list_changes
from event_stream_engine.reporting.daily import DailyReport, count_daily, name_daily
from event_stream_engine.reporting.days import find_recorded_since
from event_stream_engine.reporting.report import DAILY, KINDS, Restatement
from event_stream_engine.reporting.schedule import Due, Kept, list_days, list_due
from event_stream_engine.reporting.subscriptions import queue_report
from event_stream_engine.reporting.versions import Report
from event_stream_engine.reporting.weekly import count_weekly, name_weekly

SQL = load_queries(__package__)
REPORTER = Actor("engine:reporter")
MOST_LAG = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Counted:
    """A report that was due. `is_new`: its figures are not those of the latest version, or there is none."""

    report: Report
    is_new: bool


async def count_next(conn: Connection, now: datetime, zone: ZoneInfo) -> Counted | None:
    """Count the next report that is due, when the projector has come to the end of the log; in a snapshot."""
    recorded_since = await find_recorded_since(conn)
    if recorded_since is None:
        return None
    days = list_days(now, zone, recorded_since)
    due = list_due(days, await _list_kept(conn, days), now, zone) if days else []
    if not due or await SQL.is_behind.value(conn, {"since": now - MOST_LAG}):
        return None
    return await _count(conn, due[0], now, zone)


async def keep(conn: Connection, counted: Counted, now: datetime) -> bool:
    """Keep what was counted and tell its subscribers, in a transaction; return whether a version was made by it."""
    report, frame = counted.report, counted.report.frame
    if not counted.is_new:
        await versions.confirm(conn, report, now)
        return False
    if not await versions.store(conn, report):
        return False
    restated = frame.restated
    entry = Entry(
        now,
        "report.restated" if restated else "report.made",
        f"report:{frame.kind}:{frame.last}",
        after={
            "version": frame.version,
            "changed": [one.slug for one in restated.changes] if restated else [],
        },
    )
    await record(conn, REPORTER, entry)
    await queue_report(conn, report, now)
    return True


async def _list_kept(conn: Connection, days: Sequence[date]) -> dict[tuple[str, date], Kept]:
    return {
        (kind, one.last_day): one
        for kind in KINDS
        for one in await SQL.list_latest.many(conn, Kept, {"kind": kind, "first": days[0], "last": days[-1]})
    }


async def _count(conn: Connection, due: Due, now: datetime, zone: ZoneInfo) -> Counted:
    if due.kind == DAILY:
        daily = await count_daily(conn, now, zone, due.last_day)
        return _restate(daily, await versions.find_daily(conn, due.last_day))
    weekly = await count_weekly(conn, now, zone, due.last_day)
    return _restate(weekly, await versions.find_weekly(conn, due.last_day))


def _restate(report: Report, before: Report | None) -> Counted:
    """Make a report the next version, or find that it tells what the latest told."""
    if before is None:
        return Counted(_number(report, 1, None), is_new=True)
    changes = list_changes(_name(before), _name(report))
    if not changes:
        return Counted(before, is_new=False)
    version = before.frame.version or 0
    return Counted(_number(report, version + 1, Restatement(_explain(report, before), changes)), is_new=True)


def _number(report: Report, version: int, restated: Restatement | None) -> Report:
    frame = replace(report.frame, version=version, restated=restated)
    return replace(report, frame=frame)


def _name(report: Report) -> Named:
    return name_daily(report) if isinstance(report, DailyReport) else name_weekly(report)


def _explain(report: Report, before: Report) -> str:
    mine, others = report.frame, before.frame
    if mine.zone != others.zone:
        return f"Days are those of {mine.zone} now; in version {others.version} they were those of {others.zone}."
    cut_off = others.cut_off_at.astimezone(ZoneInfo(mine.zone))
    return (
        f"Changed since the cut-off of version {others.version}, {cut_off.day} {cut_off:%B %Y %H:%M}: "
        "what comes late counts for the time it belongs to."
    )
