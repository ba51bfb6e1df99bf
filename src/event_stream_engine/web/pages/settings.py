"""`/settings`: what holds for the whole engine; here the thresholds of the configuration."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.alerting import rules
from event_stream_engine.infra.database import snapshot
from event_stream_engine.web.render import may_change, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/settings", include_in_schema=False)
# Key of the configuration: what it is called, its unit and what it means.
THRESHOLDS = {
    "error_rate_threshold": ("Message error rate", "%", "fires above, at once"),
    "response_time_threshold_ms": ("API response time", "ms", "fires above"),
    "delivery_rate_threshold": (
        "Delivery rate of a campaign",
        "%",
        "fires below; also the line on the dashboard",
    ),
    "disk_usage_threshold": ("Disk usage", "%", "fires above"),
}


@router.get("")
async def show_settings(request: Request) -> Response:
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        held = {rule.configuration: rule for rule in await rules.list_rules(conn)}
    return render(
        request,
        "settings.html",
        room="settings",
        tab="/settings",
        thresholds=[(key, held[key], *THRESHOLDS[key]) for key in rules.CONFIGURATION],
        may_change=may_change(request),
    )
