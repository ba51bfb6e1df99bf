"""`/campaigns`: which campaigns there are, and how far each one is."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics import campaign_progress
from event_stream_engine.analytics.campaign_progress import Progress
from event_stream_engine.campaigns import campaigns
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import CAMPAIGN_STATES

router = APIRouter(prefix="/campaigns", include_in_schema=False)
PAGE_LENGTH = 25


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """A line of the list. `parts` are shares of its bar, `when` what happened last or comes next."""

    campaign: Campaign
    segment: str
    template: str
    progress: Progress | None
    parts: list[tuple[str, float]]
    when: tuple[str, datetime]


@router.get("")
async def show_campaigns(request: Request, state: str | None = None, before: str | None = None) -> Response:
    if state is not None and state not in CAMPAIGN_STATES:
        raise Invalid(f"There is no state {state!r}. Choose one of {', '.join(CAMPAIGN_STATES)}.", "state")
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await campaigns.list_campaigns(
            conn,
            limit=PAGE_LENGTH + 1,
            before=read_cursor(before, parse_instant, UUID) if before else None,
            state=state,
        )
        shown = found[:PAGE_LENGTH]
        names = await campaign_progress.list_names(conn, [one.id for one in shown])
        started = [ran for one in shown if (ran := campaign_progress.read_run(one)) is not None]
        progress = await campaign_progress.load_progress(conn, started, now)
        counts = await campaign_progress.count_campaigns(conn)
    rows = [
        CampaignRow(
            one,
            names[one.id].segment,
            names[one.id].template,
            progress.get(one.id),
            list_parts(progress.get(one.id)),
            _find_moment(one),
        )
        for one in shown
    ]
    last = shown[-1] if len(found) > PAGE_LENGTH else None
    asked = {"state": state} if state else {}
    return render(
        request,
        "campaigns.html",
        room="campaigns",
        tab="/campaigns",
        rows=rows,
        counts=counts,
        chosen=state,
        is_running=counts.get("running", 0) > 0,
        may_write=may_write(request),
        as_of=now,
        zone=resources.settings.timezone,
        first_href=f"/campaigns?{urlencode(asked)}" if before else None,
        next_href=last
        and f"/campaigns?{urlencode({**asked, 'before': write_cursor(format_instant(last.created_at), last.id)})}",
    )


def list_parts(progress: Progress | None) -> list[tuple[str, float]]:
    """Return the shares of a campaign's bar in percent; what is missing to 100 still waits."""
    if progress is None or not progress.recipients:
        return []
    counts = (
        ("delivered", progress.delivered),
        ("in-flight", progress.in_flight),
        ("failed", max(0, progress.handed_over - progress.delivered - progress.in_flight)),
        ("warning", progress.skipped),
    )
    return [(name, count * 100 / progress.recipients) for name, count in counts if count]


def _find_moment(campaign: Campaign) -> tuple[str, datetime]:
    if campaign.finished_at is not None:
        return campaign.state, campaign.finished_at
    if campaign.started_at is not None:
        return "started", campaign.started_at
    if campaign.state == "scheduled" and campaign.scheduled_at is not None:
        return "starts", campaign.scheduled_at
    return "made", campaign.created_at
