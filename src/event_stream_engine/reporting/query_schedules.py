"""Saved queries that run by themselves, every day or every week at a local time, and whom their results are told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import orjson

from event_stream_engine.audit.entries import Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Denied, Invalid, NotFound
from event_stream_engine.notifications.channels import list_channels
from event_stream_engine.notifications.targets import ALERTMANAGER
from event_stream_engine.workbench.parameters import Value, read_values
from event_stream_engine.workbench.saved_queries import Person, load_query

SQL = load_queries(__package__)
MOST_OWN = 100
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person decides: `weekday` 1 is Monday, None means every day; `runs_at` is in the zone of the workspace."""

    runs_at: time
    channel_id: UUID
    weekday: int | None = None
    given: Mapping[str, Value | None] = field(default_factory=dict)
    is_enabled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule(Draft):
    """`ran_at`, `reason`, `row_count`: of its last run, None before the first; a reason says why that failed."""

    id: UUID
    query_id: UUID
    owner: str
    owner_name: str
    created_at: datetime
    due_at: datetime
    query_name: str
    channel_name: str
    is_channel_usable: bool
    ran_at: datetime | None
    reason: str | None
    row_count: int | None

    def may_change(self, person: Person) -> bool:
        return person.is_admin or self.owner == person.actor.name


def find_next(weekday: int | None, runs_at: time, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first instant after another at which a local clock shows the time, on the day of the week if there is one.

    A time that a clock change skips comes as much later as the clock was put forward, one that it repeats the first time.
    """
    day = after.astimezone(zone).date()
    while True:
        at = datetime.combine(day, runs_at, zone).astimezone(UTC)
        if at > after and (weekday is None or day.isoweekday() == weekday):
            return at
        day += timedelta(days=1)


async def list_schedules(conn: Connection, person: Person, query_id: UUID | None = None) -> list[Schedule]:
    """Return the schedules of one query, or of all queries that a person may see, by the query's name."""
    asked = {"owner": person.actor.name, "query_id": query_id}
    return await SQL.list_query_schedules.many(conn, Schedule, asked)


async def load_schedule(conn: Connection, schedule_id: UUID, person: Person) -> Schedule:
    """Return a schedule that a person may see. Errors: NotFound."""
    for schedule in await list_schedules(conn, person):
        if schedule.id == schedule_id:
            return schedule
    raise NotFound("There is no such schedule. GET /api/v1/queries/schedules lists them.")


async def create_schedule(
    conn: Connection, person: Person, query_id: UUID, draft: Draft, *, zone: ZoneInfo, now: datetime
) -> Schedule:
    """Have a query run by itself from now on. Errors: NotFound, Invalid naming the field, Conflict."""
    if await SQL.count_query_schedules.value(conn, {"owner": person.actor.name}) >= MOST_OWN:
        raise Conflict(f"You have {MOST_OWN} schedules already. Remove one that nobody needs.")
    await _check_draft(conn, query_id, draft, person)
    return await _put(conn, person, (uuid4(), query_id), draft, before=None, zone=zone, now=now)


async def change_schedule(
    conn: Connection, person: Person, schedule_id: UUID, draft: Draft, *, zone: ZoneInfo, now: datetime
) -> Schedule:
    """Change when a query runs and who is told. Errors: NotFound, Denied, Invalid naming the field."""
    before = await _load_own(conn, schedule_id, person)
    await _check_draft(conn, before.query_id, draft, person)
    return await _put(conn, person, (schedule_id, before.query_id), draft, before=before, zone=zone, now=now)


async def delete_schedule(conn: Connection, person: Person, schedule_id: UUID, now: datetime) -> None:
    """Let a query no longer run by itself; its past results go too. Errors: NotFound, Denied."""
    before = await _load_own(conn, schedule_id, person)
    await SQL.delete_query_schedule.execute(conn, {"id": schedule_id})
    entry = Entry(
        now, "query_schedule.deleted", _subject(schedule_id), before=_describe(before.query_id, before)
    )
    await record(conn, person.actor, entry)


async def _load_own(conn: Connection, schedule_id: UUID, person: Person) -> Schedule:
    await SQL.lock_query_schedule.execute(conn, {"id": schedule_id})
    schedule = await load_schedule(conn, schedule_id, person)
    if not schedule.may_change(person):
        raise Denied(f"Only {schedule.owner_name} or an admin may change this schedule.")
    return schedule


async def _check_draft(conn: Connection, query_id: UUID, draft: Draft, person: Person) -> None:
    query = await load_query(conn, query_id, person)
    if draft.weekday is not None and not 1 <= draft.weekday <= 7:
        raise Invalid("A day from 1, Monday, to 7, Sunday, is needed, or none for every day.", "weekday")
    if draft.runs_at.tzinfo is not None or draft.runs_at.second or draft.runs_at.microsecond:
        raise Invalid("A time of the day like 08:30 is needed, in the zone of the workspace.", "runs_at")
    channel = next((one for one in await list_channels(conn) if one.id == draft.channel_id), None)
    if channel is None:
        raise Invalid(
            "There is no such channel. GET /api/v1/notifications/channels lists them.", "channel_id"
        )
    if channel.kind == ALERTMANAGER:
        raise Invalid("An Alertmanager takes alerts alone. Choose a channel that people read.", "channel_id")
    try:
        read_values(query.parameters, draft.given)
    except Invalid as fault:
        raise Invalid(str(fault), (fault.field or "").replace("parameters", "given", 1)) from None


async def _put(
    conn: Connection,
    person: Person,
    ids: tuple[UUID, UUID],
    draft: Draft,
    *,
    before: Draft | None,
    zone: ZoneInfo,
    now: datetime,
) -> Schedule:
    schedule_id, query_id = ids
    columns = {
        "id": schedule_id,
        "query_id": query_id,
        "given": orjson.dumps(dict(draft.given)).decode(),
        "weekday": draft.weekday,
        "runs_at": draft.runs_at,
        "channel_id": draft.channel_id,
        "is_enabled": draft.is_enabled,
        "owner": person.actor.name,
        "owner_name": person.name,
        "now": now,
        "due_at": find_next(draft.weekday, draft.runs_at, zone, now),
    }
    await SQL.put_query_schedule.execute(conn, columns)
    verb = "created" if before is None else "changed"
    after = _describe(query_id, draft)
    was = None if before is None else _describe(query_id, before)
    await record(conn, person.actor, Entry(now, f"query_schedule.{verb}", _subject(schedule_id), was, after))
    return await load_schedule(conn, schedule_id, person)


def _subject(schedule_id: UUID) -> str:
    return f"query_schedule:{schedule_id}"


def _describe(query_id: UUID, draft: Draft) -> dict[str, Any]:
    return {
        "query": str(query_id),
        "weekday": draft.weekday,
        "runs_at": draft.runs_at.isoformat("minutes"),
        "channel": str(draft.channel_id),
        "is_enabled": draft.is_enabled,
    }
