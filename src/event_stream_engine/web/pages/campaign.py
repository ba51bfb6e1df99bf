"""`/campaigns/{id}`: is this campaign arriving, and if not, why?"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics import campaign_progress
from event_stream_engine.analytics.campaign_progress import Progress, Ran
from event_stream_engine.analytics.delivery import list_delivery_points
from event_stream_engine.analytics.performance import load_performance
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.audience import segments
from event_stream_engine.audit.trails import TrailEntry, list_of_subject
from event_stream_engine.campaigns import campaigns, templates
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.campaigns.pacing import KEPT
from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.kernel.formats import format_date, format_duration, format_number
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.campaign_charts import Speed, chart_speed, choose_step
from event_stream_engine.web.charts import Chart
from event_stream_engine.web.pages.campaign_figures import (
    COMPARED_RATES,
    describe_figures,
    load_comparison,
)
from event_stream_engine.web.pages.campaign_messages import describe_message
from event_stream_engine.web.pages.campaigns import list_parts
from event_stream_engine.web.pages.exports import link_export
from event_stream_engine.web.pages.monitoring import summarise_failures
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import MESSAGE_STATUSES

router = APIRouter(prefix="/campaigns", include_in_schema=False)
MESSAGES_LENGTH = 25
TIMELINE_LENGTH = 50
SETTLING = timedelta(hours=1)  # after the end, receipts still come often enough to watch


@dataclass(frozen=True, slots=True)
class Asked:
    """Which messages of a campaign are asked for, from behind which on, and which campaigns beside it."""

    campaign_id: UUID
    status: str | None
    reason: str | None
    after: UUID | None
    compare: Sequence[UUID]

    def link_messages(
        self, status: str | None = None, reason: str | None = None, after: UUID | None = None
    ) -> str:
        """Return the address of the page with these messages."""
        return self._link(
            "messages", {"status": status, "reason": reason, "after": after, "compare": self.compare}
        )

    def link_comparison(self, others: Sequence[UUID]) -> str:
        """Return the address of the page with these campaigns beside it."""
        return self._link("comparison", {"status": self.status, "reason": self.reason, "compare": others})

    @property
    def export_href(self) -> str:
        """Return where the messages that are shown are exported, all pages of them."""
        asked = {"campaign_id": self.campaign_id, "status": self.status, "reason": self.reason}
        return link_export("recipients", asked)

    def _link(self, part: str, asked: Mapping[str, object]) -> str:
        query = urlencode({name: value for name, value in asked.items() if value}, doseq=True)
        return f"/campaigns/{self.campaign_id}" + (f"?{query}" if query else "") + f"#{part}"


def read_asked(
    campaign_id: UUID,
    status: str | None = None,
    reason: str | None = None,
    after: Annotated[UUID | None, Query()] = None,
    compare: Annotated[list[UUID] | None, Query()] = None,
) -> Asked:
    """Read the address of the page. Errors: Invalid."""
    if status is not None and status not in MESSAGE_STATUSES:
        raise Invalid(f"There is no status {status!r}.", "status")
    return Asked(campaign_id, status, reason, after, compare or ())


@dataclass(frozen=True, slots=True)
class TimelineRow:
    at: datetime
    action: str
    detail: str
    who: str


@router.get("/{campaign_id:uuid}")
async def show_campaign(request: Request, asked: Annotated[Asked, Depends(read_asked)]) -> Response:
    campaign_id = asked.campaign_id
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    # A refresh is of figures: the messages stay as they are under the reader's eyes.
    is_refresh = "x-refresh" in request.headers
    context: dict[str, Any] = {}
    async with resources.pool.connection() as conn, snapshot(conn):
        campaign = await campaigns.load_campaign(conn, campaign_id)
        names = (await campaign_progress.list_names(conn, [campaign_id]))[campaign_id]
        trail = await list_of_subject(conn, f"campaign:{campaign_id}", TIMELINE_LENGTH)
        ran = campaign_progress.read_run(campaign)
        progress: Progress | None = None
        content: Mapping[str, Any] | None = campaign.template
        reach: int | None = 0
        if ran is None:
            content = asdict(await templates.load_template(conn, campaign.template_id))
            reach = await _count_reach(conn, campaign.segment_id, now)
        else:
            performance = await load_performance(conn, campaign, now, zone)
            progress = performance.progress
            context |= describe_figures(performance)
            context["failure_summary"] = summarise_failures(performance.failures, progress.handed_over)
            context["comparison"] = await load_comparison(conn, campaign, asked.compare, now, zone)
            context |= await _draw_pace(conn, campaign, zone, now)
            context |= (
                {"messages": [], "next_href": None}
                if is_refresh
                else await _list_messages(conn, ran, asked, now)
            )
    return render(
        request,
        "campaign.html",
        room="campaigns",
        tab="/campaigns",
        modules=["messages.js"],
        campaign=campaign,
        segment_name=names.segment,
        template_name=names.template,
        text=(content or {}).get("body", ""),
        progress=progress,
        parts=list_parts(progress),
        outlook=_describe_outlook(campaign, progress, zone),
        is_settling=campaign.finished_at is not None
        and now - campaign.finished_at < SETTLING
        and progress is not None
        and progress.in_flight > 0,
        reach=reach,
        timeline=[_describe_entry(entry, zone) for entry in trail],
        asked=asked,
        compared_rates=COMPARED_RATES,
        first_href=asked.link_messages(asked.status, asked.reason) if asked.after else None,
        may_write=may_write(request),
        as_of=now,
        zone=zone,
        **context,
    )


async def _count_reach(conn: Connection, segment_id: UUID, now: datetime) -> int | None:
    segment = await segments.load_segment(conn, segment_id)
    try:
        return (await segments.preview(conn, segment.filter, now, 0)).people
    except (Invalid, Unavailable):
        return None


def _describe_outlook(campaign: Campaign, progress: Progress | None, zone: ZoneInfo) -> str:
    """Say what comes next and when."""
    if progress is None or campaign.started_at is None:
        return ""
    if campaign.finished_at is not None:
        took = (campaign.finished_at - campaign.started_at).total_seconds()
        return f"{campaign.state} after {format_duration(took)}"
    if campaign.state == "paused":
        return f"paused, {format_number(progress.pending)} wait"
    if campaign.filled_at is None:
        return f"still adding recipients, {format_number(campaign.recipients)} so far"
    return _describe_rest(progress, zone)


def _describe_rest(progress: Progress, zone: ZoneInfo) -> str:
    deferred = sum(progress.deferred.values())
    if progress.turn and progress.per_second:
        return f"about {format_duration(progress.turn / progress.per_second)} left"
    if deferred and progress.next_deferred_at is not None:
        return f"{format_number(deferred)} deferred, the first until {format_date(progress.next_deferred_at, zone)}"
    return "handing over" if progress.turn else "all handed over"


async def _draw_pace(conn: Connection, campaign: Campaign, zone: ZoneInfo, now: datetime) -> dict[str, Any]:
    """Draw by seconds as long as these are known, by minutes later."""
    began = campaign.started_at or now
    ended = campaign.finished_at or now
    name = "the whole campaign"
    speeds: list[Speed]
    if now - began < KEPT:
        since = began.replace(microsecond=0)
        step = choose_step(ended - since, timedelta(seconds=1))
        count = max(1, -(-(ended - since) // step))
        taken = [0] * (count + 1)
        for row in await campaign_progress.list_pace(conn, [campaign.id], since):
            taken[min(count, (row.second - since) // step)] += row.taken
        while len(taken) > 1 and taken[-1] == 0:
            taken.pop()
        speeds = [Speed(since + number * step, messages) for number, messages in enumerate(taken)]
    else:
        step = choose_step(ended - began, timedelta(minutes=1))
        scope = Scope(Window(began, max(ended, began + step)), [campaign.id])
        points = await list_delivery_points(conn, scope, step, zone)
        speeds = [Speed(point.at, point.sent) for point in points]
    chart: Chart = chart_speed(speeds, step, campaign.rate_per_second, zone, name=name)
    return {
        "pace": chart,
        "pace_subtitle": f"by {format_duration(step.total_seconds())}, handed over, against the limit",
    }


async def _list_messages(conn: Connection, ran: Ran, asked: Asked, now: datetime) -> dict[str, Any]:
    found = await campaign_progress.list_messages(
        conn,
        ran.campaign_id,
        ran.started_at,
        most=MESSAGES_LENGTH + 1,
        after=asked.after,
        status=asked.status,
        reason=asked.reason,
    )
    shown = found[:MESSAGES_LENGTH]
    more = len(found) > MESSAGES_LENGTH
    return {
        "messages": [describe_message(one, now) for one in shown],
        "next_href": asked.link_messages(asked.status, asked.reason, shown[-1].id) if more else None,
    }


def _describe_entry(entry: TrailEntry, zone: ZoneInfo) -> TimelineRow:
    after = entry.after or {}
    detail = ""
    if entry.action == "campaign.scheduled" and "scheduled_at" in after:
        detail = f"for {format_date(after['scheduled_at'], zone)}"
    elif entry.action == "campaign.changed":
        detail = after.get("reason") or ", ".join(name.replace("_", " ") for name in after)
    engine = f"by the engine ({entry.actor.removeprefix('engine:')})"
    return TimelineRow(
        entry.at, entry.action, detail, f"by {entry.actor_name}" if entry.actor_name else engine
    )
