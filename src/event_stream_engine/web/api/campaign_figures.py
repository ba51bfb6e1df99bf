"""Figures of campaigns: how one did, and how several compare."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request

from event_stream_engine.analytics.comparison import Compared, Pair, compare_campaigns, list_pairs
from event_stream_engine.analytics.distribution import spread
from event_stream_engine.analytics.performance import Performance, TimedPart, load_performance
from event_stream_engine.analytics.rates import Rate, list_rates
from event_stream_engine.campaigns.campaigns import Campaign, load_campaign
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.figures import (
    describe_failures,
    describe_frame,
    describe_rate,
    describe_rates,
    describe_statuses,
    describe_summary,
    describe_times,
    round_seconds,
)
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/analytics", tags=["analytics"])
_WHY_NO_RATE = {
    "delivery_rate_percent": "No message of this campaign has been sent.",
    "error_rate_percent": "No message of this campaign has been attempted.",
    "read_rate_percent": "No message of this campaign has been delivered.",
    "reply_rate_percent": "No message of this campaign has been delivered.",
    "opt_out_rate_percent": "No message of this campaign has been sent.",
}
_WHY_NO_TIME = "No delivery time could be measured."


@router.get("/campaigns/{campaign_id}/performance")
async def show_performance(request: Request, campaign_id: UUID) -> dict[str, Any]:
    """One campaign: its messages by status, how long they took, where they arrived, why some failed, who answered."""
    refuse_unknown(request, ())
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        campaign = await load_campaign(conn, campaign_id)
        found = await load_performance(conn, campaign, now, resources.settings.timezone)
    counts = found.delivery.counts
    seconds = found.execution_seconds
    summary = describe_summary(counts, found.delivery.delivery_unknown)
    return describe_frame(request, Window(campaign.started_at or now, now)) | {
        "campaign_performance": {
            "campaign_id": str(campaign.id),
            "campaign_name": campaign.name,
            "execution_summary": summary
            | {
                "total_recipients": campaign.recipients,
                "messages_skipped": found.progress.skipped,
                "messages_pending": found.progress.pending,
                "execution_duration_minutes": None if seconds is None else round(seconds / 60, 2),
            },
            "performance_breakdown": describe_statuses(counts) | found.by_status,
            "timing_analysis": describe_times(found.delivery.times),
        },
        "campaign": _describe_campaign(campaign)
        | {"segment_name": found.names.segment, "template_name": found.names.template},
        "stages": {name: describe_times(stage) for name, stage in found.delivery.stages.items()},
        "delivery_time_histogram": _describe_histogram(found),
        **{
            f"by_{name}": [_describe_part(name, part) for part in parts]
            for name, parts in found.parts.items()
        },
        "skipped_by_reason": found.progress.denied,
        "error_analysis": {
            name: value for name, value in describe_failures(found.failures).items() if name != "error_trends"
        },
        "engagement": {
            "messages_read": counts.now_read,
            "messages_replied": counts.replied,
            "read_rate_percent": counts.read_rate_percent,
            "reply_rate_percent": counts.reply_rate_percent,
        },
        "opt_outs": {"messages_stopped": counts.stopped, "opt_out_rate_percent": counts.opt_out_rate_percent},
        "conflicts": counts.conflicts,
        "rates": describe_rates(counts),
        "unknown": _explain(found),
    }


@router.get("/compare")
async def compare(
    request: Request,
    campaign_id: Annotated[list[UUID], Query(description="Two to four campaigns, each named once.")],
) -> dict[str, Any]:
    """Rates of campaigns side by side with 95 % intervals, and for each pair whether these overlap."""
    refuse_unknown(request, ("campaign_id",))
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        compared = await compare_campaigns(conn, campaign_id, now, resources.settings.timezone)
    pairs = list_pairs(compared)
    started = min((one.campaign.started_at or now for one in compared), default=now)
    return describe_frame(request, Window(started, now)) | {
        "campaigns": [_describe_compared(one) for one in compared],
        "pairs": [
            {"campaign_ids": [str(pair.one.id), str(pair.other.id)], "intervals_overlap": pair.overlaps}
            for pair in pairs
        ],
        "unknown": _explain_comparison(compared, pairs),
    }


def _describe_campaign(campaign: Campaign) -> dict[str, Any]:
    return {
        "state": campaign.state,
        "segment_id": str(campaign.segment_id),
        "template_id": str(campaign.template_id),
        "sender": campaign.sender,
        "started_at": campaign.started_at and format_instant(campaign.started_at),
        "finished_at": campaign.finished_at and format_instant(campaign.finished_at),
    }


def _describe_histogram(found: Performance) -> list[dict[str, Any]]:
    times = found.delivery.times
    return [
        {
            "since_seconds": one.since_seconds,
            "until_seconds": one.until_seconds,
            "messages": one.messages,
            "cumulative_messages": one.so_far,
            "cumulative_percent": percent(one.so_far, times.count),
        }
        for one in spread(times.sketch)
    ]


def _describe_part(dimension: str, timed: TimedPart) -> dict[str, Any]:
    counts, times = timed.part.counts, timed.times.percentiles
    rate = Rate(counts.delivered, counts.sent)
    interval = describe_rate(rate)
    return {
        dimension: timed.part.name or "unknown",
        "messages_attempted": counts.messages,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "messages_failed": counts.failed,
        "delivery_rate_percent": rate.percent,
        "low_percent": interval["low_percent"],
        "high_percent": interval["high_percent"],
        "p50_seconds": round_seconds(times["p50"]),
        "p95_seconds": round_seconds(times["p95"]),
    }


def _describe_compared(one: Compared) -> dict[str, Any]:
    counts, times = one.counts, one.times.percentiles
    return {
        "campaign_id": str(one.campaign.id),
        "campaign_name": one.campaign.name,
        **_describe_campaign(one.campaign),
        "segment_name": one.names.segment,
        "template_name": one.names.template,
        "total_recipients": one.campaign.recipients,
        "messages_sent": counts.sent,
        "messages_delivered": counts.delivered,
        "messages_failed": counts.failed,
        "p50_seconds": round_seconds(times["p50"]),
        "p95_seconds": round_seconds(times["p95"]),
        "rates": {name: {"percent": rate.percent, **describe_rate(rate)} for name, rate in one.rates.items()},
    }


def _explain(found: Performance) -> dict[str, str]:
    """Return why figures are null, by their place in the answer."""
    reasons = {}
    if found.execution_seconds is None:
        reasons["campaign_performance.execution_summary.execution_duration_minutes"] = _explain_duration(
            found
        )
    if not found.delivery.times.count:
        reasons["campaign_performance.timing_analysis"] = _WHY_NO_TIME
    places = {
        "delivery_rate_percent": "campaign_performance.execution_summary.",
        "error_rate_percent": "campaign_performance.execution_summary.",
        "read_rate_percent": "engagement.",
        "reply_rate_percent": "engagement.",
        "opt_out_rate_percent": "opt_outs.",
    }
    for name, rate in list_rates(found.delivery.counts).items():
        if rate.percent is None:
            reasons[f"{places[name]}{name}"] = reasons[f"rates.{name}"] = _WHY_NO_RATE[name]
    for name, parts in found.parts.items():
        for place, timed in enumerate(parts):
            reasons |= _explain_part(f"by_{name}.{place}", timed)
    for name, stage in found.delivery.stages.items():
        if not stage.count:
            reasons[f"stages.{name}"] = "No message of this campaign has been through this stage."
    return reasons


def _explain_part(place: str, timed: TimedPart) -> dict[str, str]:
    rate = ("delivery_rate_percent", "low_percent", "high_percent") if not timed.part.counts.sent else ()
    times = ("p50_seconds", "p95_seconds") if not timed.times.count else ()
    return {f"{place}.{name}": _WHY_NO_RATE["delivery_rate_percent"] for name in rate} | {
        f"{place}.{name}": _WHY_NO_TIME for name in times
    }


def _explain_comparison(compared: Sequence[Compared], pairs: Sequence[Pair]) -> dict[str, str]:
    reasons = {}
    for place, one in enumerate(compared):
        for name, rate in one.rates.items():
            if rate.percent is None:
                reasons[f"campaigns.{place}.rates.{name}"] = _WHY_NO_RATE[name]
        if not one.times.count:
            for name in ("p50_seconds", "p95_seconds"):
                reasons[f"campaigns.{place}.{name}"] = _WHY_NO_TIME
    for place, pair in enumerate(pairs):
        for name, overlaps in pair.overlaps.items():
            if overlaps is None:
                reasons[f"pairs.{place}.intervals_overlap.{name}"] = "One of the two rates is not known."
    return reasons


def _explain_duration(found: Performance) -> str:
    campaign = found.campaign
    if campaign.started_at is None:
        return "The campaign has not started."
    if campaign.finished_at is None:
        return (
            "The campaign goes on; it lasts until the last recipient has been handed over, skipped or denied."
        )
    return "The campaign had no recipients."
