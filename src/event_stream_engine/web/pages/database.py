"""`/performance/database`: what costs time in the database, who waits for whom, and what should be done about it?"""

from datetime import datetime, timedelta
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_date
from event_stream_engine.monitoring.postgres import (
    Loss,
    find_observed,
    list_settings,
    load_database_performance,
)
from event_stream_engine.monitoring.postgres_activity import list_replicas, list_sessions
from event_stream_engine.monitoring.postgres_indexes import judge_indexes, list_indexes
from event_stream_engine.monitoring.postgres_statements import list_statements
from event_stream_engine.web.periods import PERIODS, read_period
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/performance", include_in_schema=False)
MOST_STATEMENTS = 25


@router.get("/database")
async def show_database(request: Request) -> Response:
    resources = resources_of(request)
    zone, now, period = resources.settings.timezone, resources.clock.now(), read_period(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_database_performance(conn, period.window, now)
        statements = await list_statements(conn, found.buckets, MOST_STATEMENTS)
        indexes = await list_indexes(conn, now)
        observed = await find_observed(conn)
        sessions = await list_sessions(conn)
        replicas = await list_replicas(conn)
        settings = await list_settings(conn)
    chosen = urlencode(
        {"since": format_instant(period.window.since), "until": format_instant(period.window.until)}
    )
    return render(
        request,
        "performance_database.html",
        room="performance",
        tab="/performance/database",
        modules=[],
        period=period,
        periods=PERIODS,
        as_of=now,
        zone=zone,
        found=found,
        losses=[_describe_loss(loss, zone) for loss in found.losses],
        growth=found.size.growth_bytes_per_day(now),
        statements=statements,
        sessions=sessions,
        verdicts=judge_indexes(indexes, observed.length if observed else timedelta(0)),
        indexes=indexes,
        replicas=replicas,
        settings=settings,
        chosen=chosen,
    )


def _describe_loss(loss: Loss, zone: ZoneInfo) -> str:
    def write(at: datetime | None) -> str:
        return "a time that is not known" if at is None else format_date(at, zone)

    if loss.kind == "statements_evicted":
        times = "once" if loss.times == 1 else f"{loss.times:,} times"
        return f"Before {write(loss.at)} PostgreSQL forgot its least used statements {times}: raise pg_stat_statements.max."
    what = "The statistics of statements were" if loss.kind == "statements_reset" else "The statistics were"
    unseen = f" What came after the look of {write(loss.unseen_since)} and before it is not counted."
    return f"{what} reset at {write(loss.at)}.{unseen if loss.unseen_since else ''}"
