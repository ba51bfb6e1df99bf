"""Requests measured: how many, how long, how many failed; by route, over all web processes.

A request counts in the moment it was received, once it has ended. Web processes tell every 5 s what they counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.stats import percent, sketch_percentiles
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.spans import KEPT, SECONDS, Span, as_columns, floor_to, list_spans
from event_stream_engine.monitoring.tallies import GIVEN_UP_AFTER, Meter, Tally

SQL = load_queries(__package__)
Noted = tuple[str, str, int]  # route, method, status (0: it ended without an answer)
Key = tuple[str, str, str]  # route, method, class of the status
RequestMeter = Meter[Noted, Key]
PERCENTS = (50, 95, 99)
MOST_PER_STATEMENT = 500
# Ticks are looked at when every process must have told what it counted in them.
TOLD_AFTER = timedelta(seconds=6)
# Longer than a process carries over what it could not tell, so that a settled day misses nothing.
SETTLED_AFTER = GIVEN_UP_AFTER + timedelta(hours=2)
# Readers may have looked at the clock some time ago.
CLEARED_AFTER = timedelta(hours=1)
MOST_PER_CLEARING = 20_000
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_ALL: Key = ("", "", "")


def name_request(noted: Noted) -> Key:
    """Return the key under which a request is counted; whatever a client sends, there are few of them."""
    route, method, status = noted
    return route, method if method in _METHODS else "other", f"{status // 100}xx" if status else "none"


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of a window, or a part of them. `sketch`: by sketch index, down to a microsecond."""

    count: int = 0
    failed: int = 0
    microseconds: int = 0
    fastest: int = 0
    slowest: int = 0
    sketch: Mapping[int, int] = field(default_factory=dict)

    @staticmethod
    def sum_up(parts: Sequence["Requests"]) -> "Requests":
        sketch: Counter[int] = Counter()
        for part in parts:
            sketch.update(part.sketch)
        return Requests(
            count=sum(part.count for part in parts),
            failed=sum(part.failed for part in parts),
            microseconds=sum(part.microseconds for part in parts),
            fastest=min((part.fastest for part in parts), default=0),
            slowest=max((part.slowest for part in parts), default=0),
            sketch=sketch,
        )

    @property
    def average_ms(self) -> float | None:
        return self.microseconds / self.count / 1000 if self.count else None

    @property
    def error_rate_percent(self) -> float | None:
        return percent(self.failed, self.count)

    @property
    def percentiles_ms(self) -> dict[str, float | None]:
        found = sketch_percentiles(self.sketch, PERCENTS)
        return {name: None if seconds is None else seconds * 1000 for name, seconds in found.items()}


@dataclass(frozen=True, slots=True)
class RouteRequests:
    """Requests of one route and method. `refused`: answered with 4xx; `unanswered`: ended without an answer."""

    route: str
    method: str
    refused: int
    unanswered: int
    requests: Requests


@dataclass(frozen=True, slots=True)
class Rates:
    """The figures of the present moment, each with the window that it is about."""

    last_seconds: Requests
    seconds_window: Window
    last_minute: Requests
    minute_window: Window
    last_minutes: Requests
    minutes_window: Window


@dataclass(frozen=True, slots=True)
class _Found:
    number: int
    requests: int
    failed: int
    microseconds: int
    fastest: int
    slowest: int
    places: list[int]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class _FoundRoute:
    route: str
    method: str
    requests: int
    failed: int
    refused: int
    unanswered: int
    microseconds: int
    fastest: int
    slowest: int
    places: list[int]
    counts: list[int]


async def tell(conn: Connection, meter: RequestMeter, now: datetime) -> None:
    """Add what a process counted to the roll-ups; what fails is kept for the next time.

    A statement whose commit the connection did not live to see may count twice: at most some seconds of one process.
    """
    while tallies := meter.take(MOST_PER_STATEMENT):
        try:
            await SQL.add_requests.execute(conn, _as_columns(tallies, now))
        except BaseException:
            meter.take_back(tallies)
            raise


def _as_columns(tallies: Mapping[tuple[int, Key], Tally], now: datetime) -> dict[str, list[object]]:
    """Return the roll-up rows of tallies as columns."""
    rows: dict[tuple[str, float, Key], Tally] = {}
    failed: Counter[tuple[str, float, Key]] = Counter()
    oldest_tick = (now - KEPT["tick"]).timestamp()
    for (tick, key), tally in tallies.items():
        buckets = [(grain, float(tick - tick % seconds)) for grain, seconds in SECONDS.items()]
        for grain, bucket in [*buckets, ("total", float("-inf"))]:
            if grain == "tick" and tick < oldest_tick:
                continue
            for kept in (key, _ALL):
                rows.setdefault((grain, bucket, kept), Tally()).add(tally)
                failed[grain, bucket, kept] += tally.count if key[2] == "5xx" else 0
    ordered = sorted(rows)
    return {
        "grain": [grain for grain, _, _ in ordered],
        "bucket": [bucket for _, bucket, _ in ordered],
        "route": [route for _, _, (route, _, _) in ordered],
        "method": [method for _, _, (_, method, _) in ordered],
        "status_class": [status_class for _, _, (_, _, status_class) in ordered],
        "requests": [rows[place].count for place in ordered],
        "failed": [failed[place] for place in ordered],
        "microseconds": [rows[place].microseconds for place in ordered],
        "fastest": [rows[place].fastest for place in ordered],
        "slowest": [rows[place].slowest for place in ordered],
        "sketch": [rows[place].as_array for place in ordered],
    }


async def list_requests(conn: Connection, windows: Sequence[Window], now: datetime) -> list[Requests]:
    """Return the requests of each of some windows, all routes together. Their ends are put back as `list_spans` says."""
    reach = Window(min(window.since for window in windows), max(window.until for window in windows))
    days = await _list_days(conn, reach)
    spans = [
        (number, span) for number, window in enumerate(windows) for span in list_spans(window, now, days)
    ]
    return await _sum_up(conn, spans, len(windows))


async def list_route_requests(conn: Connection, window: Window, now: datetime) -> list[RouteRequests]:
    """Return the requests of a window by route and method."""
    spans = [(0, span) for span in list_spans(window, now, await _list_days(conn, window))]
    rows = await SQL.list_route_requests.many(conn, _FoundRoute, as_columns(spans))
    return [RouteRequests(row.route, row.method, row.refused, row.unanswered, _describe(row)) for row in rows]


async def load_rates(conn: Connection, now: datetime) -> Rates:
    """Return the figures of the last 60 seconds, the last full minute and the last 5 minutes, as far as all is told."""
    told = floor_to("tick", now - TOLD_AFTER)
    minute = floor_to("minute", told)
    windows = (
        Window(told - timedelta(seconds=60), told),
        Window(minute - timedelta(minutes=1), minute),
        Window(told - timedelta(minutes=5), told),
    )
    spans = [(number, Span("tick", window.since, window.until)) for number, window in enumerate(windows)]
    found = await _sum_up(conn, spans, len(windows))
    return Rates(found[0], windows[0], found[1], windows[1], found[2], windows[2])


async def settle_days(conn: Connection, now: datetime) -> None:
    """Count the local days that are over by day; anew where the calendar has changed."""
    is_settled = True
    while is_settled:
        async with transaction(conn):
            is_current = await SQL.lock_request_days.value(conn)
            if is_current is None:  # before the first calendar
                return
            if not is_current:
                await SQL.renew_request_days.execute(conn, {"now": now})
                await SQL.forget_request_days.execute(conn)
            is_settled = await SQL.settle_request_day.value(conn, {"until": now - SETTLED_AFTER})


async def clear_old(conn: Connection, now: datetime) -> None:
    """Delete the buckets that are no longer kept, some at a time."""
    asked = {
        "grains": list(KEPT),
        "before": [now - kept - CLEARED_AFTER for kept in KEPT.values()],
        "most": MOST_PER_CLEARING,
    }
    while await SQL.clear_requests.execute(conn, asked) == MOST_PER_CLEARING:
        pass


async def _list_days(conn: Connection, window: Window) -> list[datetime]:
    days: list[datetime] = await SQL.list_settled_days.value(
        conn, {"since": window.since, "until": window.until}
    )
    return days


async def _sum_up(conn: Connection, spans: list[tuple[int, Span]], windows: int) -> list[Requests]:
    rows = await SQL.list_requests.many(conn, _Found, as_columns(spans))
    found = {row.number: _describe(row) for row in rows}
    return [found.get(number, Requests()) for number in range(windows)]


def _describe(row: _Found | _FoundRoute) -> Requests:
    sketch = dict(zip(row.places, row.counts, strict=True))
    return Requests(row.requests, row.failed, row.microseconds, row.fastest, row.slowest, sketch)
