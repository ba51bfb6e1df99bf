"""Quiet hours: when a person must be left alone, in every zone the person may be in.

What counts is the clock on the wall. When the clocks go forward over the end of a window it ends at that moment; when
they go back into it, it holds once more. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from event_stream_engine.kernel.windows import Window

HORIZON = timedelta(days=8)  # zones that leave no common minute so long leave none
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_MEMORY_SIZE = 4096


@dataclass(frozen=True, slots=True)
class QuietHours:
    """`[starts, ends)` by the local clock, over midnight when it ends before it starts; equal: none."""

    starts: time
    ends: time

    @property
    def is_empty(self) -> bool:
        return self.starts == self.ends

    def holds(self, at: time) -> bool:
        """Tell whether it is quiet at a local time."""
        if self.starts <= self.ends:
            return self.starts <= at < self.ends
        return at >= self.starts or at < self.ends


def find_allowed_at(now: datetime, zones: Sequence[ZoneInfo], hours: Sequence[QuietHours]) -> datetime | None:
    """Return the first moment from now on at which no zone has quiet hours, None when they leave no common minute.

    Units: aware UTC, as `now`.
    """
    span, is_allowed = _find_span(now, zones, hours)
    if is_allowed:
        return now
    return span.until if span.until < span.since + HORIZON else None


def find_quiet_at(now: datetime, zones: Sequence[ZoneInfo], hours: Sequence[QuietHours]) -> datetime | None:
    """Return the first moment from now on at which any zone has quiet hours, None when none ever has."""
    span, is_allowed = _find_span(now, zones, hours)
    if not is_allowed:
        return now
    return span.until if span.until < span.since + HORIZON else None


# Thousands of messages a second share some hundred sets of zones, each in the same span for hours. Measured for both
# questions: 1.3 µs with one zone known, 3 µs with 42; not known yet, 16 µs with one and 370 µs with 42.
_spans: dict[tuple[tuple[ZoneInfo, ...], tuple[QuietHours, ...]], tuple[Window, bool]] = {}


def _find_span(now: datetime, zones: Sequence[ZoneInfo], hours: Sequence[QuietHours]) -> tuple[Window, bool]:
    """Return a window around now in which it is all allowed or all not, and which of them; it ends with the change."""
    key = tuple(zones), tuple(hours)
    known = _spans.get(key)
    if known is not None and known[0].since <= now < known[0].until:
        return known
    rules = [(zone, one) for zone in key[0] for one in key[1] if not one.is_empty]
    is_allowed = not any(_is_quiet(now, *rule) for rule in rules)
    until = _skip_allowed(now, rules) if is_allowed else _skip_quiet(now, rules)
    if len(_spans) >= _MEMORY_SIZE:
        _spans.clear()
    found = _spans[key] = Window(now, until), is_allowed
    return found


def _skip_allowed(now: datetime, rules: Sequence[tuple[ZoneInfo, QuietHours]]) -> datetime:
    """Return when it becomes quiet by any of the rules, none of which holds now."""
    end = now + HORIZON
    for rule in rules:
        at = now
        while at < end and not _is_quiet(at, *rule):
            at = _find_next_change(at, *rule)
        end = min(end, at)
    return end


def _skip_quiet(now: datetime, rules: Sequence[tuple[ZoneInfo, QuietHours]]) -> datetime:
    """Return when none of the rules holds any more."""
    at, end = now, now + HORIZON
    free_count, position = 0, 0
    while free_count < len(rules) and at < end:
        rule = rules[position]
        free_count += 1
        while at < end and _is_quiet(at, *rule):
            at = _find_next_change(at, *rule)
            free_count = 1  # the others were asked about an earlier moment
        position = (position + 1) % len(rules)
    return min(at, end)


def _is_quiet(at: datetime, zone: ZoneInfo, hours: QuietHours) -> bool:
    return hours.holds(at.astimezone(zone).time())


def _find_next_change(at: datetime, zone: ZoneInfo, hours: QuietHours) -> datetime:
    """Return a moment after `at` up to which quiet or not stays as it is: the next edge, or the zone's clock changing."""
    local = at.astimezone(zone).replace(tzinfo=None)
    edges = (datetime.combine(local.date(), edge) for edge in (hours.starts, hours.ends))
    wait = min((edge if edge > local else edge + _DAY) - local for edge in edges)
    return _find_clock_change(at, at + wait, zone) or at + wait


def _find_clock_change(since: datetime, until: datetime, zone: ZoneInfo) -> datetime | None:
    """Return when the zone's offset changes within a day, None when it does not."""
    offset = _offset_at(since, zone)
    if _offset_at(until, zone) == offset:
        return None
    low, high = 0, -(-(until - since) // _SECOND)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_at(since + middle * _SECOND, zone) == offset:
            low = middle
        else:
            high = middle
    # Clocks change on whole seconds.
    return (since + high * _SECOND).replace(microsecond=0)


def _offset_at(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(zone).utcoffset() or timedelta(0)
