"""`/reports`: the latest day and week, and every report there is, by its day in the calendar."""

from calendar import Calendar
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.reporting import days, versions
from event_stream_engine.reporting.documents import write_document
from event_stream_engine.reporting.report import DAILY, WEEKLY
from event_stream_engine.reporting.versions import Version
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reports", include_in_schema=False)
RESTATED_LISTED = 10
_RESTATED_WITHIN = timedelta(days=35)


@dataclass(frozen=True, slots=True)
class Cell:
    """A day or a week of the calendar. `state`: kept, counted (when asked for), running or none (nothing to report)."""

    last: date
    state: str
    version: int | None
    is_shown: bool


@dataclass(frozen=True, slots=True)
class Month:
    """`weeks`: seven days and their week each; `previous`, `following`: neighbours there is something in."""

    first: date
    weeks: list[tuple[list[Cell], Cell]]
    previous: date | None
    following: date | None


@router.get("")
async def show_reports(request: Request, month: str | None = None) -> Response:
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    today = now.astimezone(zone).date()
    first = _read_month(month) if month else today.replace(day=1)
    async with resources.pool.connection() as conn, snapshot(conn):
        day = await days.choose_day(conn, now, zone)
        week = await days.choose_week(conn, now, zone)
        daily = await versions.load_daily(conn, now, zone, day)
        weekly = await versions.load_weekly(conn, now, zone, week)
        recorded_since = await days.find_recorded_since(conn)
        listed = [first - timedelta(days=7), first + timedelta(days=45)]
        kept = {kind: await versions.list_versions(conn, kind, *listed) for kind in (DAILY, WEEKLY)}
        late = [
            one
            for kind in (DAILY, WEEKLY)
            for one in await versions.list_versions(conn, kind, today - _RESTATED_WITHIN, today)
            if one.reason is not None
        ]
    late.sort(key=lambda one: one.cut_off_at, reverse=True)
    return render(
        request,
        "reports.html",
        room="reports",
        tab="/reports",
        documents=[write_document(daily), write_document(weekly)],
        today=today,
        month=_lay_out(first, today, _begin(recorded_since, today, zone), kept),
        restated=late[:RESTATED_LISTED],
        zone=zone,
    )


def _read_month(text: str) -> date:
    try:
        year, number = (int(part) for part in text.split("-"))
        month = date(year, number, 1)
    except ValueError:
        raise Invalid(f"{text!r} is no month. Write it like 2026-03.", "month") from None
    if not 1970 <= month.year <= 2200:
        raise Invalid(f"{text!r} is too far away. Use a year from 1970 to 2200.", "month")
    return month


def _begin(recorded_since: datetime | None, today: date, zone: ZoneInfo) -> date:
    return today if recorded_since is None else recorded_since.astimezone(zone).date()


def _lay_out(first: date, today: date, begun: date, kept: dict[str, list[Version]]) -> Month:
    latest: dict[tuple[str, date], int] = {}
    for kind, found in kept.items():
        for one in found:
            latest[kind, one.last_day] = max(one.version, latest.get((kind, one.last_day), 0))

    def cell(kind: str, last: date, *, is_shown: bool) -> Cell:
        version = latest.get((kind, last))
        state = "none"
        if version is not None:
            state = "kept"
        elif begun <= last <= today:
            state = "running" if last == today else "counted"
        return Cell(last, state, version, is_shown)

    weeks = [
        (
            [cell(DAILY, day, is_shown=day.month == first.month) for day in week],
            cell(WEEKLY, week[-1], is_shown=True),
        )
        for week in Calendar().monthdatescalendar(first.year, first.month)
    ]
    previous, following = (
        (first - timedelta(days=1)).replace(day=1),
        (first + timedelta(days=31)).replace(day=1),
    )
    return Month(
        first,
        weeks,
        previous if previous >= begun.replace(day=1) else None,
        following if following <= today else None,
    )
