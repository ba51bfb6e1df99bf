"""What the page of a campaign shows of its figures: statuses, times, places, errors, answers, and others beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.comparison import MOST, Compared, Pair, compare_campaigns, list_pairs
from event_stream_engine.analytics.durations import Durations
from event_stream_engine.analytics.failures import FailureRow, Failures, RetryRow
from event_stream_engine.analytics.performance import Performance, TimedPart
from event_stream_engine.analytics.rates import Rate, list_rates
from event_stream_engine.campaigns import campaigns
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.formats import format_number, format_rate
from event_stream_engine.kernel.stats import percent
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.web.duration_charts import chart_delivery_times
from event_stream_engine.web.intervals import IntervalMark, draw_intervals
from event_stream_engine.web.waterfall import list_steps

_CANDIDATES = 50
_STAGES = (("queue", "Provider’s queue", "accepted → sent"), ("carrier", "Carrier", "sent → delivered"))
COMPARED_RATES = (
    ("delivery_rate_percent", "Delivery rate"),
    ("read_rate_percent", "Read"),
    ("reply_rate_percent", "Replied"),
    ("opt_out_rate_percent", "Opted out"),
)


@dataclass(frozen=True, slots=True)
class StatusLine:
    status: str
    messages: int
    share_percent: float | None


@dataclass(frozen=True, slots=True)
class StageLine:
    """`bar_percent`: the median against the longest of all stages."""

    name: str
    meaning: str
    times: Durations
    bar_percent: float


@dataclass(frozen=True, slots=True)
class PartLine:
    dimension: str
    timed: TimedPart
    rate: Rate
    interval: IntervalMark | None


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """A code with which messages failed, or that they met and were offered again; `retry` is None without the latter."""

    failure: FailureRow
    retry: RetryRow | None


@dataclass(frozen=True, slots=True)
class ComparedLine:
    """A campaign with its rates and their marks, each rate on the scale of its column."""

    compared: Compared
    rates: Sequence[tuple[Rate, IntervalMark | None]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """`others`: who stands beside the campaign; `candidates`: who could; `differences`: what is more than chance;
    `unsettled`: whose rates still change."""

    others: Sequence[UUID]
    candidates: Sequence[Campaign]
    lines: Sequence[ComparedLine]
    differences: Sequence[str]
    unsettled: Sequence[str]
    is_full: bool


def describe_figures(found: Performance) -> dict[str, Any]:
    """Return what the template needs of a campaign that has begun."""
    counts = found.delivery.counts
    recipients = found.campaign.recipients
    return {
        "performance": found,
        "rates": list_rates(counts),
        "steps": list_steps(
            found.progress,
            counts.replied,
            segment=found.names.segment,
            is_cancelled=found.campaign.state == "cancelled",
        ),
        "statuses": [
            StatusLine(status, messages, percent(messages, recipients))
            for status, messages in sorted(found.by_status.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        "delivery_times": chart_delivery_times(found.delivery.times),
        "stages": _list_stages(found),
        "part_lines": _list_parts(found),
        "error_lines": _list_errors(found.failures),
    }


def _list_stages(found: Performance) -> list[StageLine]:
    stages = [(name, meaning, found.delivery.stages[slug]) for slug, name, meaning in _STAGES]
    stages.append(("Altogether", "accepted → delivered", found.delivery.times))
    medians = [times.percentiles["p50"] or 0.0 for _, _, times in stages]
    longest = max(medians) or 1.0
    return [
        StageLine(name, meaning, times, median * 100 / longest)
        for (name, meaning, times), median in zip(stages, medians, strict=True)
    ]


def _list_parts(found: Performance) -> list[PartLine]:
    parts = [(dimension, timed) for dimension, timed_parts in found.parts.items() for timed in timed_parts]
    rates = [Rate(timed.part.counts.delivered, timed.part.counts.sent) for _, timed in parts]
    return [
        PartLine(dimension, timed, rate, mark)
        for (dimension, timed), rate, mark in zip(parts, rates, draw_intervals(rates), strict=True)
    ]


def _list_errors(failures: Failures) -> list[ErrorLine]:
    retries = {row.code: row for row in failures.retries}
    lines = [ErrorLine(row, retries.pop(row.code, None)) for row in failures.rows]
    for code, retry in retries.items():
        known = describe_error_code(code)
        nobody = FailureRow(code, known.description, known.error_class, known.resolution, 0, 0.0)
        lines.append(ErrorLine(nobody, retry))
    return lines


async def load_comparison(
    conn: Connection, campaign: Campaign, others: Sequence[UUID], now: datetime, zone: ZoneInfo
) -> Comparison:
    """Put up to three campaigns beside one. Errors: Invalid, NotFound."""
    compared = await compare_campaigns(conn, [campaign.id, *others], now, zone) if others else []
    marks = [draw_intervals([one.rates[slug] for one in compared]) for slug, _ in COMPARED_RATES]
    lines = [
        ComparedLine(
            one,
            [
                (one.rates[slug], column[place])
                for (slug, _), column in zip(COMPARED_RATES, marks, strict=True)
            ],
        )
        for place, one in enumerate(compared)
    ]
    latest = await campaigns.list_campaigns(conn, limit=_CANDIDATES)
    taken = {campaign.id, *others}
    return Comparison(
        others=others,
        candidates=[one for one in latest if one.started_at is not None and one.id not in taken],
        lines=lines,
        differences=_list_differences(compared),
        unsettled=[
            f"{one.campaign.name} has {format_number(one.counts.in_flight)} messages in flight"
            for one in compared
            if one.counts.in_flight
        ],
        is_full=len(others) >= MOST - 1,
    )


def _list_differences(compared: Sequence[Compared]) -> list[str]:
    rates = {one.campaign.id: one.rates for one in compared}

    def word(pair: Pair, slug: str, name: str) -> str:
        better, worse = sorted((pair.one, pair.other), key=lambda one: -(rates[one.id][slug].percent or 0))
        return (
            f"{name}: {better.name} {format_rate(rates[better.id][slug].percent)},"
            f" {worse.name} {format_rate(rates[worse.id][slug].percent)}"
        )

    return [
        word(pair, slug, name)
        for slug, name in COMPARED_RATES
        for pair in list_pairs(compared)
        if pair.overlaps[slug] is False
    ]
