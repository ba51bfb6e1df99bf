"""`/insights/capacity`: will it be enough, until when, and how long does a campaign take?"""

import asyncio
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.campaigns.campaigns import Campaign, list_campaigns
from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.insights.capacity import load_capacity
from event_stream_engine.insights.drain_plan import DrainPlan, prepare_drain
from event_stream_engine.insights.outlook import find_full_on, list_ahead, list_past
from event_stream_engine.insights.projection import LEAST_DAYS, LEVEL_PERCENT
from event_stream_engine.insights.what_if import reckon
from event_stream_engine.web.capacity_charts import chart_drain, chart_storage, chart_volume
from event_stream_engine.web.capacity_questions import CapacityQuery, DrainQuery, read_form
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/insights", include_in_schema=False)
DRAIN = "drain_"
MOST_CAMPAIGNS = 50
MOST_TABLES = 8
_STATES = ("running", "paused", "scheduled", "draft")
_KNOWN = (*CapacityQuery.model_fields, *(f"{DRAIN}{name}" for name in DrainQuery.model_fields))


@router.get("/capacity")
async def show_capacity(request: Request) -> Response:
    refuse_unknown(request, _KNOWN)
    resources, given = resources_of(request), request.query_params
    zone, now = resources.settings.timezone, resources.clock.now()
    asked, drain_asked = read_form(CapacityQuery, given), read_form(DrainQuery, given, DRAIN)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_capacity(conn, zone, now)
        scenario = await reckon(conn, found, asked.assumptions, now)
        planned = await prepare_drain(conn, DrainPlan(**drain_asked.model_dump()), zone, now)
        campaigns = await _list_unfinished(conn)
    drain, advice = await asyncio.to_thread(planned.reckon)
    past, ahead = list_past(found, zone), list_ahead(found, zone)
    growing = sorted(found.tables, key=lambda table: -(table.growth_bytes_per_day or 0))
    return render(
        request,
        "capacity.html",
        room="insights",
        tab="/insights/capacity",
        modules=[],
        as_of=now,
        zone=zone,
        found=found,
        full_on=find_full_on(found, found.storage.full_in_days),
        full_on_at_earliest=find_full_on(found, found.storage.full_in_days_at_earliest),
        level=LEVEL_PERCENT,
        least_days=LEAST_DAYS,
        volume=chart_volume(past, ahead, zone),
        storage=chart_storage(found, past, ahead, zone),
        growing=growing[:MOST_TABLES],
        asked=asked,
        scenario=scenario,
        scenario_full_on=find_full_on(found, scenario.full_in_days),
        drain_asked=drain_asked,
        planned=planned,
        drain=drain,
        advice=advice,
        drain_chart=chart_drain(drain, zone),
        campaigns=campaigns,
        given=given,
        export=_write_address("capacity", asked),
        drain_export=_write_address("drain", drain_asked),
    )


async def _list_unfinished(conn: Connection) -> list[Campaign]:
    """Return the campaigns whose drain can be asked for, the newest of each state."""
    return [
        campaign
        for state in _STATES
        for campaign in await list_campaigns(conn, limit=MOST_CAMPAIGNS, state=state)
    ]


def _write_address(name: str, asked: CapacityQuery | DrainQuery) -> str:
    values = asked.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return f"/api/v1/insights/{name}" + (f"?{urlencode(values)}" if values else "")
