"""What is counted of a window for a report, from roll-ups."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.campaign_progress import Names, list_names
from event_stream_engine.analytics.catalogue_reports import REPORTS
from event_stream_engine.analytics.consent import count_opt_outs
from event_stream_engine.analytics.delivery import (
    DeliveryPoint,
    Part,
    count_messages,
    list_delivery_points,
    list_parts,
)
from event_stream_engine.analytics.demographics import count_signups
from event_stream_engine.analytics.durations import Durations, load_durations
from event_stream_engine.analytics.failures import FailureRow, load_failures
from event_stream_engine.analytics.inbound import count_intents
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window
from event_stream_engine.reporting.days import Span
from event_stream_engine.reporting.improvements import list_improvements, load_observed
from event_stream_engine.reporting.report import (
    Definition,
    DeliveryTimes,
    Figures,
    Frame,
    Improvement,
    TopCampaign,
)

SQL = load_queries(__package__)
MOST_CAMPAIGNS = 10
LEAST_SENT = 30  # below that the interval of a rate says nothing


@dataclass(frozen=True, slots=True)
class Content:
    """What reports of days and weeks share; `points`: in steps of the report, as far as they have begun."""

    figures: Figures
    before: Figures | None
    points: tuple[DeliveryPoint, ...]
    top_campaigns: tuple[TopCampaign, ...]
    failures: tuple[FailureRow, ...]
    improvements: tuple[Improvement, ...]


async def gather(conn: Connection, span: Span, step: timedelta, now: datetime, zone: ZoneInfo) -> Content:
    """Count what a report of a span tells; in a snapshot, so that its figures agree with each other."""
    scope = Scope(span.window)
    figures, times = await count_figures(conn, span.window)
    before = await count_figures(conn, span.compared_with) if span.compared_with else None
    campaigns = await list_parts(conn, scope, "campaign")
    names = await list_names(conn, [UUID(part.name) for part in campaigns])
    failures = await load_failures(conn, scope)
    points = await list_delivery_points(conn, scope, step, zone)
    observed = await load_observed(
        conn,
        scope,
        counts=figures.counts,
        times=times,
        campaigns=campaigns,
        names=names,
        failures=failures.rows,
    )
    return Content(
        figures=figures,
        before=before and before[0],
        points=tuple(point for point in points if point.at < now),
        top_campaigns=rank_campaigns(campaigns, names),
        failures=tuple(failures.rows),
        improvements=list_improvements(observed),
    )


def make_frame(kind: str, span: Span, endpoint: str, now: datetime, zone: ZoneInfo) -> Frame:
    """Return the frame of a report that is counted now."""
    recorded_since = span.recorded_since
    is_within = recorded_since is not None and recorded_since > span.window.since
    return Frame(
        kind=kind,
        first=span.first,
        last=span.last,
        window=span.window,
        compared_with=span.compared_with,
        zone=zone.key,
        cut_off_at=now,
        is_so_far=span.is_so_far,
        definitions=list_definitions(endpoint),
        recorded_since=recorded_since if is_within else None,
    )


async def count_figures(conn: Connection, window: Window) -> tuple[Figures, Durations]:
    """Count a window, and return its delivery times with their sketch, too."""
    scope = Scope(window)
    times = (await load_durations(conn, scope, ["delivery"]))["delivery"]
    figures = Figures(
        counts=await count_messages(conn, scope),
        times=_describe_times(times),
        campaigns_executed=await SQL.count_started_campaigns.value(
            conn, {"since": window.since, "until": window.until}
        ),
        new_users=await count_signups(conn, window),
        opt_outs=await count_opt_outs(conn, window),
        inbound=sum(row.messages for row in await count_intents(conn, window)),
    )
    return figures, times


def _describe_times(times: Durations) -> DeliveryTimes:
    percentiles = {name: _round(value) for name, value in times.percentiles.items()}
    return DeliveryTimes(
        times.count,
        _round(times.average_seconds),
        _round(times.fastest_seconds),
        _round(times.slowest_seconds),
        percentiles,
    )


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def rank_campaigns(parts: Sequence[Part], names: Mapping[UUID, Names]) -> tuple[TopCampaign, ...]:
    """Return the campaigns that arrived best, by the lower end of their rate's interval; those with few messages are left out."""
    found = [
        TopCampaign(
            UUID(part.name), names[UUID(part.name)].campaign, Rate(part.counts.delivered, part.counts.sent)
        )
        for part in parts
        if UUID(part.name) in names and part.counts.sent >= LEAST_SENT
    ]
    found.sort(key=lambda one: (-(one.delivery.interval or (0,))[0], -one.delivery.denominator, one.name))
    return tuple(found[:MOST_CAMPAIGNS])


def list_definitions(endpoint: str) -> tuple[Definition, ...]:
    """Return the meaning of the figures that an endpoint answers, as it is today."""
    return tuple(
        Definition(metric.slug, metric.name, metric.formula, metric.note)
        for metric in REPORTS.metrics
        if any(answer.endpoint == endpoint for answer in metric.answers)
    )
