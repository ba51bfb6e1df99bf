"""Reports of days and weeks, each version as it was known at its cut-off."""

from datetime import date, timedelta
from itertools import groupby
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request

from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.reporting import days, versions
from event_stream_engine.reporting.daily import describe_daily
from event_stream_engine.reporting.report import DAILY, KINDS
from event_stream_engine.reporting.versions import Version
from event_stream_engine.reporting.weekly import describe_weekly
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/reports", tags=["reports"])
LISTED = timedelta(days=35)
LONGEST = timedelta(days=366)
_FIRST, _LAST = date(1970, 1, 1), date(2200, 12, 31)
_Version = Annotated[
    int | None, Query(ge=1, le=1000, description="A kept version; the latest when left out.")
]


@router.get("")
async def list_reports(
    request: Request,
    kind: Annotated[Literal["daily", "weekly"] | None, Query(description="Both kinds when left out.")] = None,
    since: Annotated[
        date | None, Query(description="First day; 35 days before the last when left out.")
    ] = None,
    until: Annotated[
        date | None, Query(description="Last day, itself included; today when left out.")
    ] = None,
) -> dict[str, Any]:
    """The reports that are kept, with their versions, newest first."""
    refuse_unknown(request, ("kind", "since", "until"))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    last = _check_day(until or now.astimezone(zone).date(), "until")
    first = _check_day(since or last - LISTED, "since")
    if not timedelta(0) <= last - first <= LONGEST:
        raise Invalid(f"Ask for 1 to {LONGEST.days + 1} days: since comes before until.", "since")
    async with resources.pool.connection() as conn, snapshot(conn):
        found = [
            one
            for wanted in ([kind] if kind else KINDS)
            for one in await versions.list_versions(conn, wanted, first, last)
        ]
    found.sort(key=lambda one: (-one.last_day.toordinal(), one.kind, -one.version))
    return {
        "as_of": format_instant(now),
        "time_zone": zone.key,
        "items": [
            _describe_report(last_day, name, list(of_one))
            for (last_day, name), of_one in groupby(found, key=lambda one: (one.last_day, one.kind))
        ],
    }


@router.get("/daily")
async def show_daily(
    request: Request,
    on: Annotated[
        date | None, Query(alias="date", description="A local day; yesterday when left out.")
    ] = None,
    version: _Version = None,
) -> dict[str, Any]:
    """The report of a day: the latest version there is; without one the figures as they are known now."""
    refuse_unknown(request, ("date", "version"))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        day = await days.choose_day(conn, now, zone) if on is None else _check_day(on, "date")
        report = await versions.load_daily(conn, now, zone, day, version)
    return {"as_of": format_instant(now), **describe_daily(report)}


@router.get("/weekly")
async def show_weekly(
    request: Request,
    ending: Annotated[
        date | None,
        Query(description="The last of the seven local days; the last Sunday that is over when left out."),
    ] = None,
    version: _Version = None,
) -> dict[str, Any]:
    """The report of seven days: the latest version there is; without one the figures as they are known now.

    Weeks that end on a Sunday have versions.
    """
    refuse_unknown(request, ("ending", "version"))
    resources = resources_of(request)
    now, zone = resources.clock.now(), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        day = await days.choose_week(conn, now, zone) if ending is None else _check_day(ending, "ending")
        report = await versions.load_weekly(conn, now, zone, day, version)
    return {"as_of": format_instant(now), **describe_weekly(report)}


def _check_day(day: date, field: str) -> date:
    if not _FIRST <= day <= _LAST:
        raise Invalid(f"{day} is too far away. Use a day from {_FIRST} to {_LAST}.", field)
    return day


def _describe_report(last_day: date, kind: str, of_one: list[Version]) -> dict[str, Any]:
    asked = "date" if kind == DAILY else "ending"
    return {
        "kind": kind,
        asked: last_day.isoformat(),
        "path": f"/api/v1/reports/{kind}?{asked}={last_day}",
        "versions": [
            {
                "version": one.version,
                "time_zone": one.zone,
                "cut_off_at": format_instant(one.cut_off_at),
                "confirmed_at": format_instant(one.confirmed_at),
                "reason": one.reason,
                "changed_figures": one.changed,
            }
            for one in of_one
        ],
    }
