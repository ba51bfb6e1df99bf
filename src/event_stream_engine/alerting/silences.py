"""Silences: alerts with certain labels are not told for a while, once or at the same hours again and again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson

from event_stream_engine.alerting.rules import LABEL
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Invalid, NotFound

SQL = load_queries(__package__)
LONGEST = timedelta(days=366)
KEPT = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Hours on days of the week (0: Monday) of a zone; when they end before they start, they go over midnight."""

    weekdays: Sequence[int]
    starts: time
    ends: time
    timezone: str

    def holds_at(self, at: datetime) -> bool:
        """Return whether the hours are running; what goes over midnight belongs to the day on which it starts."""
        local = at.astimezone(ZoneInfo(self.timezone))
        today, clock = local.weekday(), local.time()
        if self.starts < self.ends:
            return today in self.weekdays and self.starts <= clock < self.ends
        is_evening = today in self.weekdays and clock >= self.starts
        return is_evening or ((today - 1) % 7 in self.weekdays and clock < self.ends)


@dataclass(frozen=True, slots=True)
class Silence:
    id: UUID
    matchers: Mapping[str, str]
    begins_at: datetime
    ends_at: datetime
    schedule: Schedule | None
    comment: str
    author: str
    created_at: datetime

    def holds_at(self, at: datetime) -> bool:
        return self.begins_at <= at < self.ends_at and (self.schedule is None or self.schedule.holds_at(at))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return has_labels(labels, self.matchers)


@dataclass(frozen=True, slots=True)
class _Row:
    id: UUID
    matchers: Mapping[str, str]
    begins_at: datetime
    ends_at: datetime
    schedule: Mapping[str, Any] | None
    comment: str
    author: str
    created_at: datetime


def has_labels(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether all labels that are wanted are there with these values."""
    return all(labels.get(name) == value for name, value in wanted.items())


async def list_silences(conn: Connection, since: datetime) -> list[Silence]:
    """Return the silences that end after an instant, the next to end first."""
    rows = await SQL.list_silences.many(conn, _Row, {"since": since})
    return [
        Silence(
            row.id,
            row.matchers,
            row.begins_at,
            row.ends_at,
            None if row.schedule is None else _read_schedule(row.schedule),
            row.comment,
            row.author,
            row.created_at,
        )
        for row in rows
    ]


async def add_silence(
    conn: Connection,
    actor: Actor,
    matchers: Mapping[str, str],
    *,
    begins_at: datetime,
    ends_at: datetime,
    comment: str,
    now: datetime,
    schedule: Schedule | None = None,
) -> UUID:
    """Be silent about alerts with all of some labels. Errors: Invalid naming the field."""
    comment = comment.strip()
    if not matchers:
        raise Invalid("At least one label is needed, like rule, campaign or severity.", "matchers")
    for name, value in matchers.items():
        if not LABEL.match(name) or not 1 <= len(value) <= 200:
            raise Invalid(f"Label {name!r} needs a name of small letters and a value.", "matchers")
    if ends_at <= max(begins_at, now):
        raise Invalid("The end must lie after the begin and in the future.", "ends_at")
    if ends_at - begins_at > LONGEST:
        raise Invalid("A silence lasts a year at most.", "ends_at")
    if not 1 <= len(comment) <= 2000:
        raise Invalid("Say in 1 to 2,000 characters why.", "comment")
    if schedule is not None:
        _check_schedule(schedule)
    silence_id = uuid4()
    told = None if schedule is None else describe_schedule(schedule)
    await SQL.add_silence.execute(
        conn,
        {
            "id": silence_id,
            "matchers": orjson.dumps(matchers).decode(),
            "begins_at": begins_at,
            "ends_at": ends_at,
            "schedule": None if told is None else orjson.dumps(told).decode(),
            "comment": comment,
            "author": actor.name,
            "now": now,
        },
    )
    after = {
        "matchers": dict(matchers),
        "begins_at": format_instant(begins_at),
        "ends_at": format_instant(ends_at),
        "schedule": told,
        "comment": comment,
    }
    await record(conn, actor, Entry(now, "silence.created", f"silence:{silence_id}", after=after))
    return silence_id


async def end_silence(conn: Connection, actor: Actor, silence_id: UUID, now: datetime) -> None:
    """End a silence now. Errors: NotFound when there is none that goes on."""
    if await SQL.end_silence.value(conn, {"id": silence_id, "now": now}) is None:
        raise NotFound("There is no such silence, or it has ended.")
    await record(conn, actor, Entry(now, "silence.ended", f"silence:{silence_id}"))


async def forget_silences(conn: Connection, now: datetime) -> None:
    """Clear away what ended long ago."""
    await SQL.forget_silences.execute(conn, {"until": now - KEPT})


def _check_schedule(schedule: Schedule) -> None:
    if not schedule.weekdays or not set(schedule.weekdays) <= set(range(7)):
        raise Invalid("Days of the week from 0, Monday, to 6 are needed.", "schedule.weekdays")
    if schedule.starts == schedule.ends:
        raise Invalid("The hours must end at another time than they start.", "schedule.ends")
    try:
        ZoneInfo(schedule.timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise Invalid(f"There is no time zone {schedule.timezone!r}.", "schedule.timezone") from None


def describe_schedule(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as it is stored and shown."""
    return {
        "weekdays": sorted(set(schedule.weekdays)),
        "starts": schedule.starts.isoformat("minutes"),
        "ends": schedule.ends.isoformat("minutes"),
        "timezone": schedule.timezone,
    }


def _read_schedule(given: Mapping[str, Any]) -> Schedule:
    starts, ends = (time.fromisoformat(given[name]) for name in ("starts", "ends"))
    return Schedule(tuple(given["weekdays"]), starts, ends, given["timezone"])
