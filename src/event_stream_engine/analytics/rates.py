"""Rates with numerator, denominator and 95 % interval, and whether two of them can be told apart."""

from dataclasses import dataclass

from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.kernel.stats import percent, wilson


@dataclass(frozen=True, slots=True)
class Rate:
    numerator: int
    denominator: int

    @property
    def percent(self) -> float | None:
        return percent(self.numerator, self.denominator)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval in percent."""
        return wilson(self.numerator, self.denominator)

    def overlaps(self, other: "Rate") -> bool | None:
        """Return whether the intervals of two rates have something in common, None when one of them is not known."""
        mine, others = self.interval, other.interval
        if mine is None or others is None:
            return None
        return mine[0] <= others[1] and others[0] <= mine[1]


def list_rates(counts: MessageCounts) -> dict[str, Rate]:
    """Return the rates of some messages by their name in answers."""
    return {
        "delivery_rate_percent": Rate(counts.delivered, counts.sent),
        "error_rate_percent": Rate(counts.failed, counts.messages),
        "read_rate_percent": Rate(counts.now_read, counts.delivered),
        "reply_rate_percent": Rate(counts.replied, counts.delivered),
        "opt_out_rate_percent": Rate(counts.stopped, counts.sent),
    }
