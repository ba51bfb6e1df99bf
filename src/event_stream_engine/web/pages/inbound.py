"""`/inbound`: what do people answer?"""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.inbound import (
    INTENTS,
    Inbound,
    InboundPoint,
    count_intents,
    list_inbound_channels,
    list_inbound_points,
    list_recent_inbound,
    list_unanswered_help,
    load_inbound,
)
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import change_percent, percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.dashboard import Kpi
from event_stream_engine.web.inbound_charts import chart_inbound, chart_week
from event_stream_engine.web.key_figures import make_figure
from event_stream_engine.web.pages.exports import link_export
from event_stream_engine.web.periods import PERIODS, read_channel, read_intent, read_period_with
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

router = APIRouter(include_in_schema=False)
RECENT = 20
HELP_SHOWN = 5


@router.get("/inbound")
async def show_inbound(request: Request) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    period, channel = read_period_with(request, "channel", "intent", default="7d"), read_channel(request)
    intent = read_intent(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_inbound(conn, period.window, zone, resources.settings.secret_key, channel)
        before = await count_intents(conn, period.window.before(), channel)
        points = await list_inbound_points(conn, period.window, period.step, zone, channel)
        channels = await list_inbound_channels(conn, period.window)
        recent = await list_recent_inbound(conn, period.window, RECENT, channel, intent)
        unanswered = await list_unanswered_help(conn, period.window, HELP_SHOWN, channel)
    asked = {
        name: request.query_params[name]
        for name in ("period", "since", "until", "channel", "intent")
        if name in request.query_params
    }

    def link(**changes: str | None) -> str:
        query = urlencode({name: value for name, value in (asked | changes).items() if value})
        return f"/inbound?{query}" if query else "/inbound"

    exported = {
        "since": format_instant(period.window.since),
        "until": format_instant(period.window.until),
        **({"channel": channel} if channel else {}),
    }
    return render(
        request,
        "inbound.html",
        period=period,
        periods=PERIODS,
        kept={name: asked[name] for name in ("channel", "intent") if name in asked},
        as_of=now,
        zone=zone,
        figures=_describe_figures(found, sum(row.messages for row in before), points, period.window),
        found=found,
        volume=chart_inbound(points, period, zone),
        week=chart_week(found.week, period),
        channels=channels,
        channel=channel,
        intent=intent,
        intents=INTENTS,
        recent=recent,
        unanswered=unanswered,
        link=link,
        export=f"/api/v1/analytics/inbound?{urlencode(exported)}",
        export_rows=link_export("inbound", exported | {"intent": intent}),
        public_url=resources.settings.public_url,
    )


def _describe_figures(found: Inbound, before: int, points: list[InboundPoint], window: Window) -> list[Kpi]:
    senders, total = found.senders, found.total
    nobody = "Nobody wrote in this period."

    def count(intent: str) -> list[float | None]:
        return [point.by_intent[intent] for point in points]

    settings: list[dict[str, Any]] = [
        {
            "slug": "inbound_messages",
            "value": total,
            "change": change_percent(total, before),
            "change_unit": "%",
            "points": [sum(point.by_intent.values()) for point in points],
        },
        {"slug": "unique_senders", "value": senders.count},
        {
            "slug": "messages_per_sender",
            "value": found.per_sender,
            "reason": nobody,
            "share": (total, senders.count),
        },
        {
            "slug": "immediate_rate",
            "value": percent(found.immediate, total),
            "reason": nobody,
            "share": (found.immediate, total),
        },
        {"slug": "stop_commands", "value": found.by_intent["stop"], "points": count("stop")},
        {"slug": "unanswered_help", "value": found.unanswered_help, "points": count("help")},
    ]
    return [make_figure(window=window, **figure) for figure in settings]
