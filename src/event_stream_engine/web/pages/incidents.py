"""`/incidents`: what needs a person now, and how soon people answered before."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.incidents.figures import UNKNOWN, load_figures
from event_stream_engine.incidents.incidents import Incident, list_incidents
from event_stream_engine.incidents.lifecycle import SEVERITIES, STATES
from event_stream_engine.incidents.policy import load_policy, word_seconds
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.formats import format_duration
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.periods import PERIODS, read_period_with
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/incidents", include_in_schema=False)
PAGE_LENGTH = 25
MOST_OPEN = 200


@dataclass(frozen=True, slots=True)
class ClockShown:
    """How an incident's response clock reads. `mark`: of its dot; `counts_to`: what it counts down to."""

    mark: str
    text: str
    counts_to: datetime | None


def show_clock(incident: Incident, now: datetime) -> ClockShown:
    """Say how much of the response time is left, or how it was used."""
    judged = incident.standing.judge_response(now)
    if judged == "not_needed":
        return ClockShown("unknown", "over before anybody had to answer", None)
    if incident.acknowledged_at is not None:
        took = format_duration((incident.acknowledged_at - incident.clock_at).total_seconds())
        return ClockShown("delivered" if judged == "met" else "failed", f"answered after {took}", None)
    if incident.resolved_at is not None:
        return ClockShown("failed", "nobody answered", None)
    left = (incident.due_at - now).total_seconds()
    text = f"{format_duration(left)} left" if left > 0 else f"{format_duration(-left)} over"
    return ClockShown("warning" if left > 0 else "failed", text, incident.due_at)


@router.get("")
async def show_incidents(
    request: Request,
    severity: Annotated[str | None, Query()] = None,
    before: str | None = None,
) -> Response:
    if severity is not None and severity not in SEVERITIES:
        raise Invalid(f"There is no severity {severity!r}; use one of {', '.join(SEVERITIES)}.", "severity")
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    period = read_period_with(request, "severity", "before", default="30d")
    severities = [severity] if severity else None
    async with resources.pool.connection() as conn, snapshot(conn):
        every, by_severity = await load_figures(conn, period.window, now)
        policy = await load_policy(conn)
        still_open = await list_incidents(
            conn, limit=MOST_OPEN, states=[one for one in STATES if one != "resolved"], severities=severities
        )
        found = await list_incidents(
            conn,
            limit=PAGE_LENGTH + 1,
            states=["resolved"],
            severities=severities,
            before=read_cursor(before, parse_instant, UUID) if before else None,
        )
    shown = found[:PAGE_LENGTH]
    last = shown[-1] if len(found) > PAGE_LENGTH else None
    kept = {name: value for name in ("period", "since", "until") if (value := request.query_params.get(name))}
    asked = kept | ({"severity": severity} if severity else {})

    def link(**more: str) -> str:
        query = urlencode(more)
        return f"/incidents?{query}" if query else "/incidents"

    return render(
        request,
        "incidents.html",
        room="incidents",
        modules=["incidents.js"],
        period=period,
        periods=PERIODS,
        kept={"severity": severity} if severity else {},
        every=every,
        by_severity=by_severity,
        unknown=UNKNOWN,
        response_times={name: word_seconds(one.response_seconds) for name, one in policy.levels.items()},
        policy=policy,
        open_rows=[(one, show_clock(one, now)) for one in sorted(still_open, key=_by_urgency)],
        resolved_rows=[(one, show_clock(one, now)) for one in shown],
        chosen=severity,
        all_href=link(**kept),
        severity_hrefs={one: link(**kept, severity=one) for one in SEVERITIES},
        first_href=link(**asked) if before else None,
        next_href=last and link(**asked, before=write_cursor(format_instant(last.opened_at), last.id)),
        may_write=may_write(request),
        as_of=now,
        zone=zone,
    )


def _by_urgency(incident: Incident) -> tuple[bool, int, datetime]:
    """Put first what nobody has in hand, then the gravest, then the oldest."""
    return incident.state != "open", SEVERITIES.index(incident.severity), incident.due_at
