"""`/campaigns`: which campaigns there are, and whether each one arrives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics import campaign_progress
from event_stream_engine.analytics.campaign_progress import Progress, Ran
from event_stream_engine.analytics.delivery import list_delivery_points
from event_stream_engine.analytics.failures import load_failures
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.audience import segments
from event_stream_engine.audit.trails import TrailEntry, list_of_subject
from event_stream_engine.campaigns import campaigns, templates
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.campaigns.pacing import KEPT
from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.campaign_charts import Speed, chart_speed, choose_step
from event_stream_engine.web.charts import Chart
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.formats import format_date, format_duration, format_number
from event_stream_engine.web.pages.campaign_messages import describe_message
from event_stream_engine.web.pages.monitoring import summarise_failures
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import CAMPAIGN_STATES, MESSAGE_STATUSES

router = APIRouter(prefix="/campaigns", include_in_schema=False)
PAGE_LENGTH = 25
MESSAGES_LENGTH = 25
TIMELINE_LENGTH = 50
SETTLING = timedelta(hours=1)  # after the end, receipts still come often enough to watch
_OPERATOR = Depends(require_role(Role.operator))


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """A line of the list. `parts` are shares of its bar, `when` what happened last or comes next."""

    campaign: Campaign
    segment: str
    template: str
    progress: Progress | None
    parts: list[tuple[str, float]]
    when: tuple[str, datetime]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which of a campaign's messages are asked for, from behind which on."""

    status: str | None
    reason: str | None
    after: UUID | None

    def link(self, campaign_id: UUID, **more: str) -> str:
        filters = {"status": self.status, "reason": self.reason}
        query = urlencode({name: value for name, value in filters.items() if value} | more)
        return f"/campaigns/{campaign_id}?{query}#messages"


@dataclass(frozen=True, slots=True)
class TimelineRow:
    at: datetime
    action: str
    detail: str
    who: str


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
        progress = await _load_progress(conn, shown, now)
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


@router.get("/new", dependencies=[_OPERATOR])
async def show_new_campaign(
    request: Request, segment: UUID | None = None, template: UUID | None = None
) -> Response:
    return await _show_form(request, None, segment, template)


@router.get("/{campaign_id:uuid}/edit", dependencies=[_OPERATOR])
async def show_campaign_form(request: Request, campaign_id: UUID) -> Response:
    return await _show_form(request, campaign_id, None, None)


async def _show_form(
    request: Request, campaign_id: UUID | None, segment: UUID | None, template: UUID | None
) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        campaign = None if campaign_id is None else await campaigns.load_campaign(conn, campaign_id)
        known_segments = await segments.list_segments(conn, 500)
        known_templates = await templates.list_templates(conn, limit=500)
        latest = await campaigns.list_campaigns(conn, limit=1)
    return render(
        request,
        "campaign_form.html",
        room="campaigns",
        tab="/campaigns",
        modules=["previews.js"],
        campaign=campaign,
        segments=[(str(one.id), one.name) for one in known_segments],
        templates=[(str(one.id), one.name) for one in known_templates],
        chosen_segment=segment,
        chosen_template=template,
        last_sender=latest[0].sender if latest else "",
        zone=resources.settings.timezone,
    )


@router.get("/{campaign_id:uuid}")
async def show_campaign(
    request: Request,
    campaign_id: UUID,
    status: str | None = None,
    reason: str | None = None,
    after: Annotated[UUID | None, Query()] = None,
) -> Response:
    if status is not None and status not in MESSAGE_STATUSES:
        raise Invalid(f"There is no status {status!r}.", "status")
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    is_refresh = (
        "x-refresh" in request.headers
    )  # of figures: the messages stay as they are under the reader's eyes
    asked = Asked(status, reason, after)
    context: dict[str, Any] = {}
    async with resources.pool.connection() as conn, snapshot(conn):
        campaign = await campaigns.load_campaign(conn, campaign_id)
        names = (await campaign_progress.list_names(conn, [campaign_id]))[campaign_id]
        trail = await list_of_subject(conn, f"campaign:{campaign_id}", TIMELINE_LENGTH)
        ran = campaign_progress.read_run(campaign)
        progress = (await _load_progress(conn, [campaign], now)).get(campaign_id)
        content: Mapping[str, Any] | None = campaign.template
        reach: int | None = 0
        if progress is None or ran is None:
            content = asdict(await templates.load_template(conn, campaign.template_id))
            reach = await _count_reach(conn, campaign.segment_id, now)
        else:
            window = Window(ran.started_at, max(now, ran.started_at + timedelta(seconds=1)))
            context["failures"] = failures = await load_failures(conn, Scope(window, [campaign_id]))
            context["failure_summary"] = summarise_failures(failures, progress.handed_over)
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
        status=status,
        reason=reason,
        first_href=asked.link(campaign_id) if after else None,
        may_write=may_write(request),
        as_of=now,
        zone=zone,
        **context,
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


async def _load_progress(conn: Connection, shown: list[Campaign], now: datetime) -> dict[UUID, Progress]:
    started = [ran for one in shown if (ran := campaign_progress.read_run(one)) is not None]
    return dict(await campaign_progress.load_progress(conn, started, now))


async def _count_reach(conn: Connection, segment_id: UUID, now: datetime) -> int | None:
    segment = await segments.load_segment(conn, segment_id)
    try:
        return (await segments.preview(conn, segment.filter, now, 0)).people
    except (Invalid, Unavailable):
        return None


def _find_moment(campaign: Campaign) -> tuple[str, datetime]:
    if campaign.finished_at is not None:
        return campaign.state, campaign.finished_at
    if campaign.started_at is not None:
        return "started", campaign.started_at
    if campaign.state == "scheduled" and campaign.scheduled_at is not None:
        return "starts", campaign.scheduled_at
    return "made", campaign.created_at


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
        "next_href": asked.link(ran.campaign_id, after=str(shown[-1].id)) if more else None,
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
