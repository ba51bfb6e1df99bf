"""Figures beside those of the window before, and beside what they were in the version before."""

from collections.abc import Mapping, Sequence
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.analytics.failures import FailureRow
from event_stream_engine.analytics.rates import Rate, list_rates
from event_stream_engine.kernel.stats import change_percent
from event_stream_engine.reporting.report import Change, Comparison, Figures, Value

Named = Mapping[str, tuple[str, Value]]


def find_trend(now: Rate, before: Rate | None) -> float | None:
    """Return the relative change of a rate in percent, None where one of them is not known or there was none before."""
    if before is None or not now.denominator or not before.denominator:
        return None
    return change_percent(now.numerator / now.denominator, before.numerator / before.denominator)


def compare(figures: Figures, before: Figures) -> tuple[Comparison, ...]:
    """Set the figures of a window beside those of the window before."""
    rates, rates_before = list_rates(figures.counts), list_rates(before.counts)
    compared = [
        Comparison(
            slug,
            name,
            "%",
            rates[key].percent,
            rates_before[key].percent,
            find_trend(rates[key], rates_before[key]),
        )
        for slug, name, key in (
            ("delivery_rate", "Delivery rate", "delivery_rate_percent"),
            ("error_rate", "Error rate", "error_rate_percent"),
            ("reply_rate", "Reply rate", "reply_rate_percent"),
        )
    ]
    pairs: list[tuple[str, str, str, float | None, float | None]] = [
        ("campaigns_executed", "Campaigns started", "campaigns", figures.campaigns_executed, before.campaigns_executed),
        ("total_messages_sent", "Messages sent", "messages", figures.counts.sent, before.counts.sent),
        ("delivery_time_p50", "Delivery time, half within", "s", figures.times.percentiles["p50"], before.times.percentiles["p50"]),
        ("delivery_time_p95", "Delivery time, 95 % within", "s", figures.times.percentiles["p95"], before.times.percentiles["p95"]),
        ("new_users_added", "New users", "users", figures.new_users, before.new_users),
        ("opt_out_requests", "Opt-outs", "opt-outs", figures.opt_outs, before.opt_outs),
        ("inbound_messages", "Inbound messages", "messages", figures.inbound, before.inbound),
    ]  # fmt: skip
    counted = [
        Comparison(
            slug, name, unit, now, past, None if now is None or past is None else change_percent(now, past)
        )
        for slug, name, unit, now, past in pairs
    ]
    return (*counted[:2], *compared, *counted[2:])


def name_figures(figures: Figures) -> Named:
    """Return what may change after a report, by slug with its name."""
    counts, times = figures.counts, figures.times
    return {
        "messages_attempted": ("Messages handed to the provider", counts.messages),
        "messages_sent": ("Messages sent", counts.sent),
        "messages_delivered": ("Messages delivered", counts.delivered),
        "messages_read": ("Messages read", counts.now_read),
        "messages_failed": ("Messages failed", counts.failed),
        "messages_in_flight": ("Messages in flight", counts.in_flight),
        "messages_replied": ("Messages answered", counts.replied),
        "messages_stopped": ("Messages answered with STOP", counts.stopped),
        "conflicts": ("Messages with contradicting receipts", counts.conflicts),
        "delivery_rate": ("Delivery rate, %", counts.delivery_rate_percent),
        "error_rate": ("Error rate, %", counts.error_rate_percent),
        "average_delivery_time_seconds": ("Average delivery time, s", times.average_seconds),
        "delivery_time_p50": ("Delivery time, half within, s", times.percentiles["p50"]),
        "delivery_time_p95": ("Delivery time, 95 % within, s", times.percentiles["p95"]),
        "campaigns_executed": ("Campaigns started", figures.campaigns_executed),
        "new_users_added": ("New users", figures.new_users),
        "opt_out_requests": ("Opt-outs", figures.opt_outs),
        "inbound_messages": ("Inbound messages", figures.inbound),
    }


def name_failures(failures: Sequence[FailureRow]) -> Named:
    return {
        f"failures.{one.code or 'no_code'}": (f"Failed with {one.code or 'no error code'}", one.count)
        for one in failures
    }


def name_points(points: Sequence[DeliveryPoint], zone: ZoneInfo, written: str) -> Named:
    """Return the counts of each step, named by its local beginning as strftime writes it."""
    named: dict[str, tuple[str, Value]] = {}
    for point in points:
        began = point.at.astimezone(zone)
        for slug in ("sent", "delivered", "failed"):
            named[f"{slug}.{began.isoformat()}"] = (f"{began:{written}}: {slug}", getattr(point, slug))
    return named


def list_changes(before: Named, after: Named) -> tuple[Change, ...]:
    """Return the figures that are not what they were. What one of both does not name, like a code, is 0 there."""
    names = dict.fromkeys([*after, *before])
    return tuple(
        Change(slug, (after.get(slug) or before[slug])[0], _value(before, slug), _value(after, slug))
        for slug in names
        if _value(before, slug) != _value(after, slug)
    )


def _value(named: Named, slug: str) -> Value:
    return named[slug][1] if slug in named else 0
