"""What came of a recommendation that was taken: its figure in the weeks before against the weeks after, with interval.

The figure belongs to the kind, its scope to the subject. Days are compared with days of the same weekday, because messages
of one day fare alike. A change after is no proof of a cause: what else was different is for people to say.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from event_stream_engine.analytics.scope import Scope, find_campaign_ids
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.following import MEASURED_FOR, Followed
from event_stream_engine.insights.look import Kind, Look
from event_stream_engine.insights.registration import CODES as REFUSED_CODES
from event_stream_engine.insights.send_rates import OVERLOAD_CODES
from event_stream_engine.insights.statistics import Unit, compare_groups, newcombe
from event_stream_engine.insights.unreachable import CODES as UNREACHABLE_CODES
from event_stream_engine.insights.wide_texts import is_wide, list_sampled
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import NotFound
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
SETTLED = timedelta(days=1)  # younger messages are still under way
LEAST = 100  # on both sides
LEAST_DAYS = 4
BEFORE, SINCE = "before", "since"


@dataclass(frozen=True, slots=True)
class DayCount:
    """`hits` of `trials` on a local day; None: of things that do not vary by days."""

    on: date | None
    hits: int
    trials: int


@dataclass(frozen=True, slots=True)
class Figure:
    """A rate. `is_better_high`: whether a rise is what was hoped for."""

    name: str
    is_better_high: bool
    list_days: Callable[[Connection, Look, str, Window], Awaitable[list[DayCount]]]


@dataclass(frozen=True, slots=True)
class Side:
    hits: int
    trials: int
    percent: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`verdict`: too_early, better, worse, no_difference; done (not found since), still_found. `difference` with its 95 %
    interval in percentage points. `is_final`: it is not measured any more. `until`: of what was counted since."""

    verdict: str
    text: str
    is_final: bool
    figure: str | None = None
    before: Side | None = None
    since: Side | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    until: str | None = None

    def describe(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


async def measure(conn: Connection, kind: Kind, followed: Followed, look: Look) -> Outcome:
    """Measure what came of a recommendation that was taken, so far."""
    taken_at = followed.decided_at
    if taken_at is None:
        raise NotFound("This recommendation was not taken.")
    if kind.figure is None:
        return _look_for(followed, taken_at, look.now)
    figure, subject = FIGURES[kind.figure.format(followed.key.split(":")[1])], followed.recommendation.subject
    until = max(taken_at, min(look.now - SETTLED, taken_at + MEASURED_FOR))
    before = await figure.list_days(conn, look, subject, Window(taken_at - MEASURED_FOR, taken_at))
    since = await figure.list_days(conn, look, subject, Window(taken_at, until))
    is_final = look.now >= taken_at + MEASURED_FOR + SETTLED
    return replace(judge(figure, before, since), is_final=is_final, until=format_instant(until))


def judge(figure: Figure, before: Sequence[DayCount], since: Sequence[DayCount]) -> Outcome:
    """Compare a figure before and since."""
    then, now = _add_up(before), _add_up(since)
    known = _compare(before, since) if min(then.trials, now.trials) >= LEAST else None
    if known is None:
        text = (
            f"Too early to say: {now.trials:,} counted on {_count_days(since)} since, {then.trials:,} on"
            f" {_count_days(before)} before. It takes {LEAST} on {LEAST_DAYS} days, on both sides."
        )
        return Outcome("too_early", text, False, figure.name, then, now)
    difference, low, high = (round(one, 2) for one in known)
    if low <= 0 <= high:
        verdict, said = "no_difference", "which may be chance"
    elif (difference > 0) == figure.is_better_high:
        verdict, said = "better", "better"
    else:
        verdict, said = "worse", "worse"
    text = f"{figure.name}: {then.percent:g} % before, {now.percent:g} % since, {said}."
    return Outcome(verdict, text, False, figure.name, then, now, difference, low, high)


def _compare(before: Sequence[DayCount], since: Sequence[DayCount]) -> tuple[float, float, float] | None:
    """Return the difference since with its interval, None where days are too few."""
    if all(one.on is None for one in (*before, *since)):
        one, other = _add_up(since), _add_up(before)
        interval = newcombe(one.hits, one.trials, other.hits, other.trials)
        if interval is None or one.percent is None or other.percent is None:
            return None
        return one.percent - other.percent, *interval
    if min(len(before), len(since)) < LEAST_DAYS:
        return None
    units = [
        Unit(group, f"{day.on:%A}", day.trials, day.hits, 0.0)
        for group, days in ((BEFORE, before), (SINCE, since))
        for day in days
    ]
    found = next((one for one in compare_groups(units) if one.group == SINCE), None)
    return None if found is None else (found.effect, found.low, found.high)


def _add_up(days: Sequence[DayCount]) -> Side:
    hits, trials = sum(day.hits for day in days), sum(day.trials for day in days)
    return Side(hits, trials, percent(hits, trials))


def _count_days(days: Sequence[DayCount]) -> str:
    return f"{len(days)} day{'' if len(days) == 1 else 's'}"


def _look_for(followed: Followed, taken_at: datetime, now: datetime) -> Outcome:
    is_final = now >= taken_at + MEASURED_FOR
    if followed.found_at > taken_at:
        return Outcome("still_found", "The last look still finds it.", is_final)
    return Outcome("done", "No look has found it since.", is_final)


async def _scope(conn: Connection, subject: str, window: Window) -> Scope:
    """Return the messages a subject stands for; of a subject that is not about some of them, all."""
    name, _, value = subject.partition(":")
    if name in ("sender", "country", "channel"):
        return Scope(window, None, **{name: value})
    ids: Sequence[UUID] | None = None
    if name == "template":
        ids = await find_campaign_ids(conn, None, UUID(value))
    elif name == "segment":
        ids = await SQL.list_campaigns_of_segment.value(conn, {"segment_id": UUID(value)})
    elif name == "campaign":
        ids = [UUID(value)]
    return Scope(window, ids)


def _rate(hits: str, trials: str, codes: Sequence[int] = ()) -> Callable[..., Awaitable[list[DayCount]]]:
    async def list_days(conn: Connection, look: Look, subject: str, window: Window) -> list[DayCount]:
        scope = await _scope(conn, subject, window)
        asked = scope.parameters() | {
            "zone": look.zone.key,
            "codes": list(codes),
            "hits": hits,
            "trials": trials,
        }
        return await SQL.list_days.many(conn, DayCount, asked)

    return list_days


async def _list_wide(conn: Connection, _look: Look, subject: str, window: Window) -> list[DayCount]:
    people = await list_sampled(conn, UUID(subject.partition(":")[2]), window.since, window.until)
    texts = [wide for one in people if (wide := is_wide(one.body, one.attributes)) is not None]
    return [DayCount(None, sum(texts), len(texts))] if texts else []


FIGURES: Mapping[str, Figure] = {
    "delivery_rate": Figure("Delivery rate", True, _rate("delivered", "sent")),
    "reply_rate": Figure("Reply rate", True, _rate("replied", "delivered")),
    "opt_out_rate": Figure("Opt-out rate", False, _rate("stopped", "sent")),
    "unreachable_share": Figure(
        "Share to unreachable numbers", False, _rate("met", "messages", UNREACHABLE_CODES)
    ),
    "refused_share": Figure("Share refused or filtered", False, _rate("met", "messages", REFUSED_CODES)),
    "overload_share": Figure(
        "Share refused or put off for want of room", False, _rate("met", "messages", OVERLOAD_CODES)
    ),
    "wide_share": Figure("Share of texts in UCS-2", False, _list_wide),
}
