"""`/audience/figures`: who are the people, and how does their consent change?"""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.consent import Consent, ConsentChanges, load_consent, load_consent_changes
from event_stream_engine.analytics.demographics import Demographics, load_demographics
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.dashboard import Kpi
from event_stream_engine.web.audience_charts import chart_consent, chart_signups
from event_stream_engine.web.key_figures import make_figure
from event_stream_engine.web.periods import PERIODS, read_period_with
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/audience", include_in_schema=False)


@router.get("/figures")
async def show_figures(request: Request) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    period = read_period_with(request, default="30d")
    async with resources.pool.connection() as conn, snapshot(conn):
        consent = await load_consent(conn, period.window, zone)
        changes = await load_consent_changes(conn, period.window, period.step, zone)
        people = await load_demographics(conn, period.window, period.step, zone)
    chosen = urlencode(
        {"since": format_instant(period.window.since), "until": format_instant(period.window.until)}
    )
    return render(
        request,
        "audience_figures.html",
        room="audience",
        tab="/audience/figures",
        modules=[],
        period=period,
        periods=PERIODS,
        as_of=now,
        zone=zone,
        figures=_describe_figures(consent, changes, people, period.window),
        consent=consent,
        changes=changes,
        people=people,
        consent_chart=chart_consent(changes.points, period, zone),
        signup_chart=chart_signups(people.points, period, zone),
        consent_export=f"/api/v1/analytics/consent?{chosen}",
        people_export=f"/api/v1/analytics/demographics?{chosen}",
    )


def _describe_figures(
    consent: Consent, changes: ConsentChanges, people: Demographics, window: Window
) -> list[Kpi]:
    users, total, nobody = consent.by_state, consent.total, "There are no users yet."
    left: list[float | None] = [
        point.by_state["OPT_OUT"] + point.by_state["STOP"] for point in changes.points
    ]
    settings: list[dict[str, Any]] = [
        {"slug": "total_users", "value": total},
        *(
            {
                "slug": slug,
                "value": percent(users[state], total),
                "reason": nobody,
                "share": (users[state], total),
            }
            for slug, state in (("opt_in_rate", "OPT_IN"), ("opt_out_rate", "OPT_OUT"), ("stop_rate", "STOP"))
        ),
        {
            "slug": "opt_outs_today",
            "value": consent.opt_outs_today,
            "change": consent.opt_outs_today - consent.opt_outs_yesterday,
            "more_is_good": False,
            "points": left,
        },
        {
            "slug": "signups",
            "value": people.signups,
            "change": people.growth_percent,
            "change_unit": "%",
            "more_is_good": True,
            "points": [point.users for point in people.points],
            "window": window,
        },
    ]
    return [make_figure(**{"window": None} | figure) for figure in settings]
