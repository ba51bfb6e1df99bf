"""What could be better, found in the figures of a report: each with how many messages it touched and the rows behind it.

They describe the messages of the report's days. Whether a difference will be there tomorrow is asked of the insights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode
from uuid import UUID

from event_stream_engine.analytics.campaign_progress import Names
from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.analytics.delivery import Part, list_parts
from event_stream_engine.analytics.durations import Durations, load_delivery_times_by
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.inbound import IntentCount, count_intents
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import percent, sketch_percentiles
from event_stream_engine.kernel.windows import Window
from event_stream_engine.reporting.report import Improvement, Value

SQL = load_queries(__package__)
MOST = 5  # that somebody will act on
MOST_ROWS = 5
LEAST_MESSAGES = 5  # fewer are no reason to act
LEAST_COMPARED = 30  # messages, of it and of the others
SLOW_PERCENT = 90  # slow is what takes longer than nine of ten others
SLOW_SHARE = 20  # … and twice as many as among the others say that it is no chance


@dataclass(frozen=True, slots=True)
class FailedCampaign:
    """Messages of a campaign that failed with a code, 0: none named."""

    error_code: int
    campaign_id: UUID
    failed: int


@dataclass(frozen=True, slots=True)
class Observed:
    """The figures in which improvements are looked for. `campaigns`, `countries`, `senders`: messages by these."""

    window: Window
    counts: MessageCounts
    times: Durations
    campaigns: Sequence[Part]
    names: Mapping[UUID, Names]
    times_by_campaign: Mapping[str, Durations]
    countries: Sequence[Part]
    senders: Sequence[Part]
    failures: Sequence[FailureRow]
    failed_campaigns: Sequence[FailedCampaign]
    help_requests: IntentCount

    @property
    def page(self) -> str:
        """Return the address of the monitoring page for the window."""
        return f"/monitoring?{_query(self.window)}"


def _query(window: Window) -> str:
    return urlencode({"since": format_instant(window.since), "until": format_instant(window.until)})


async def load_observed(
    conn: Connection,
    scope: Scope,
    *,
    counts: MessageCounts,
    times: Durations,
    campaigns: Sequence[Part],
    names: Mapping[UUID, Names],
    failures: Sequence[FailureRow],
) -> Observed:
    """Read what is not counted yet by the report."""
    asked = scope.parameters("campaign") | {"most": MOST_ROWS}
    intents = await count_intents(conn, scope.window)
    return Observed(
        window=scope.window,
        counts=counts,
        times=times,
        campaigns=campaigns,
        names=names,
        times_by_campaign=await load_delivery_times_by(conn, scope, "campaign"),
        countries=await list_parts(conn, scope, "country"),
        senders=await list_parts(conn, scope, "sender"),
        failures=failures,
        failed_campaigns=await SQL.list_failed_campaigns.many(conn, FailedCampaign, asked),
        help_requests=next(row for row in intents if row.intent == "help"),
    )


def list_improvements(observed: Observed) -> tuple[Improvement, ...]:
    """Find what could be better, that which touched most messages first."""
    found = [
        *_find_codes(observed),
        *_find_badly_delivered(observed),
        *_find_slow(observed),
        *_find_stopped(observed),
        *_find_unanswered(observed),
    ]
    found.sort(key=lambda one: (-one.messages, one.text))
    return tuple(found[:MOST])


def _find_codes(observed: Observed) -> list[Improvement]:
    found = []
    for failure in observed.failures:
        if failure.count < LEAST_MESSAGES:
            continue
        named = f"error code {failure.code} occurrences" if failure.code else "failures without an error code"
        rows = tuple(
            (_name(observed, row.campaign_id), row.failed, percent(row.failed, failure.count))
            for row in observed.failed_campaigns
            if row.error_code == (failure.code or 0)
        )
        text = (
            f"Address {named}: {failure.count} messages, {failure.percentage} % of those that failed. "
            f"{failure.description}: {failure.resolution}"
        )
        found.append(
            Improvement(
                "error_code",
                _end(text),
                failure.count,
                ("campaign", "failed", "share_percent"),
                rows,
                observed.page,
            )
        )
    return found


def _find_badly_delivered(observed: Observed) -> list[Improvement]:
    found = []
    for kind, parts in (
        ("campaign", observed.campaigns),
        ("country", observed.countries),
        ("sender", observed.senders),
    ):
        for part in parts:
            subject = _describe_subject(observed, kind, part.name)
            mine = Rate(part.counts.delivered, part.counts.sent)
            others = Rate(observed.counts.delivered - mine.numerator, observed.counts.sent - mine.denominator)
            if subject is None or not _differ(others, mine):
                continue
            lost = round(others.numerator * mine.denominator / others.denominator - mine.numerator)
            if lost >= LEAST_MESSAGES:
                text = f"Improve delivery {subject}: {_compare(mine, others, 'delivered')}."
                found.append(
                    Improvement(
                        f"{kind}_delivery",
                        text,
                        lost,
                        (kind, "delivered", "sent", "delivery_rate_percent"),
                        (
                            (
                                _label(observed, kind, part.name),
                                mine.numerator,
                                mine.denominator,
                                mine.percent,
                            ),
                            ("all others", others.numerator, others.denominator, others.percent),
                        ),
                        _address(observed, kind, part.name),
                    )
                )
    return found


def _find_slow(observed: Observed) -> list[Improvement]:
    found = []
    for name, times in observed.times_by_campaign.items():
        subject = _describe_subject(observed, "campaign", name)
        others = {place: n - times.sketch.get(place, 0) for place, n in observed.times.sketch.items()}
        others_count = sum(others.values())
        if subject is None or min(times.count, others_count) < LEAST_COMPARED:
            continue
        limit = _find_place(others, SLOW_PERCENT)
        slow = Rate(sum(n for place, n in times.sketch.items() if place > limit), times.count)
        excess = round(slow.numerator - times.count * (1 - SLOW_PERCENT / 100))
        if (slow.interval or (0,))[0] <= SLOW_SHARE or excess < LEAST_MESSAGES:
            continue
        mine, theirs = sketch_percentiles(times.sketch, (50, 90)), sketch_percentiles(others, (50, 90))
        text = (
            f"Reduce delivery time {subject}: half of its messages took up to {_write_seconds(mine['p50'])}, "
            f"half of the others up to {_write_seconds(theirs['p50'])}."
        )
        found.append(
            Improvement(
                "delivery_time",
                text,
                excess,
                ("campaign", "measured", "p50_seconds", "p90_seconds"),
                (
                    (
                        _label(observed, "campaign", name),
                        times.count,
                        _round(mine["p50"]),
                        _round(mine["p90"]),
                    ),
                    ("all others", others_count, _round(theirs["p50"]), _round(theirs["p90"])),
                ),
                _address(observed, "campaign", name),
            )
        )
    return found


def _find_stopped(observed: Observed) -> list[Improvement]:
    found = []
    for part in observed.campaigns:
        subject = _describe_subject(observed, "campaign", part.name)
        mine = Rate(part.counts.stopped, part.counts.sent)
        others = Rate(observed.counts.stopped - mine.numerator, observed.counts.sent - mine.denominator)
        if subject is None or not _differ(mine, others):
            continue
        excess = round(mine.numerator - others.numerator * mine.denominator / others.denominator)
        if excess >= LEAST_MESSAGES:
            found.append(
                Improvement(
                    "opt_outs",
                    f"Look at what makes people leave {subject}: {_compare(mine, others, 'answered with STOP')}.",
                    excess,
                    ("campaign", "stopped", "sent", "opt_out_rate_percent"),
                    (
                        (
                            _label(observed, "campaign", part.name),
                            mine.numerator,
                            mine.denominator,
                            mine.percent,
                        ),
                        ("all others", others.numerator, others.denominator, others.percent),
                    ),
                    _address(observed, "campaign", part.name),
                )
            )
    return found


def _find_unanswered(observed: Observed) -> list[Improvement]:
    asked, answered = observed.help_requests.messages, observed.help_requests.auto_replied
    open_requests = asked - answered
    if open_requests < LEAST_MESSAGES:
        return []
    text = f"Answer requests for help: {open_requests} of {asked} got no reply of ours."
    return [
        Improvement(
            "help",
            text,
            open_requests,
            ("requests", "replied", "unanswered"),
            ((asked, answered, open_requests),),
            f"/inbound?{_query(observed.window)}",
        )
    ]


def _differ(high: Rate, low: Rate) -> bool:
    """Tell whether one rate is certainly above another: both have enough messages, and their intervals do not meet."""
    if min(high.denominator, low.denominator) < LEAST_COMPARED:
        return False
    return high.overlaps(low) is False and high.numerator * low.denominator > low.numerator * high.denominator


def _compare(mine: Rate, others: Rate, done: str) -> str:
    return f"{mine.percent} % of {mine.denominator} messages {done}, {others.percent} % of the others"


def _describe_subject(observed: Observed, kind: str, name: str) -> str | None:
    """Return how a text goes on about a part; None for messages of no campaign, or of an unknown country."""
    if kind == "country":
        return f"to {name}" if name else None
    if kind == "sender":
        return f"from {name}" if name else None
    found = observed.names.get(UUID(name))
    return None if found is None else f"for Campaign ID {name} (“{found.campaign}”)"


def _label(observed: Observed, kind: str, name: str) -> str:
    return _name(observed, UUID(name)) if kind == "campaign" else name


def _name(observed: Observed, campaign_id: UUID) -> str:
    found = observed.names.get(campaign_id)
    return "no campaign" if found is None else found.campaign


def _address(observed: Observed, kind: str, name: str) -> str:
    return f"/campaigns/{name}" if kind == "campaign" else observed.page


def _find_place(sketch: Mapping[int, int], percentage: int) -> int:
    """Return the place of a sketch below which a share of its messages lies."""
    total, seen = sum(sketch.values()), 0
    for place, count in sorted(sketch.items()):
        seen += count
        if seen * 100 >= total * percentage:
            return place
    return max(sketch)


def _write_seconds(seconds: float | None) -> str:
    assert seconds is not None  # noqa: S101 - of enough messages
    return f"{seconds:.1f} s" if seconds < 10 else f"{round(seconds)} s"


def _round(seconds: float | None) -> Value:
    return None if seconds is None else round(seconds, 3)


def _end(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
