"""`/incidents/{id}`: what happened, what was done about it, and what is left to do."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.incidents import affected, incidents, timeline
from event_stream_engine.incidents.lifecycle import SEVERITIES
from event_stream_engine.incidents.policy import load_policy, word_seconds
from event_stream_engine.infra.database import snapshot
from event_stream_engine.web.incident_charts import draw_alerts
from event_stream_engine.web.pages.incidents import show_clock
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/incidents", include_in_schema=False)
FAILED_SHOWN = 10


@router.get("/{incident_id:uuid}")
async def show_incident(request: Request, incident_id: UUID) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        incident = await incidents.load_incident(conn, incident_id)
        policy = await load_policy(conn)
        rows = await timeline.list_rows(conn, incident_id)
        alerts = await incidents.list_alerts(conn, incident_id)
        timers = await incidents.list_timers(conn, incident_id)
        touched = await affected.load_affected(conn, incident, now)
        failed = await affected.list_failed(conn, incident, now, most=FAILED_SHOWN)
        charts = await draw_alerts(conn, alerts, zone, now)
        assignees = await incidents.list_assignees(conn)
    steps = {position: step.name for position, step in enumerate(policy.steps, 1)}
    return render(
        request,
        "incident.html",
        room="incidents",
        modules=["incidents.js"],
        incident=incident,
        clock=show_clock(incident, now),
        timeline=list(reversed(rows)),
        linked=alerts,  # `alerts` are those of the banner
        charts=charts,
        timers=[(steps[one.position], one.due_at) for one in timers if one.position in steps],
        touched=touched,
        campaigns=touched.campaigns[: affected.MOST_CAMPAIGNS],
        failed=failed,
        assignees=assignees,
        severities=[one for one in SEVERITIES if one != incident.severity],
        meanings={name: level.meaning for name, level in policy.levels.items()},
        response_times={name: word_seconds(one.response_seconds) for name, one in policy.levels.items()},
        word_seconds=word_seconds,
        may_write=may_write(request),
        as_of=now,
        zone=zone,
    )
