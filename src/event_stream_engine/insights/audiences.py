"""Whom a campaign would reach and when each of them may be written to, from the same facts as the six steps."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import sql
from psycopg.rows import class_row

from event_stream_engine.analytics.consent import count_users
from event_stream_engine.audience.segments import compile_filter, load_segment
from event_stream_engine.campaigns.campaigns import Campaign
from event_stream_engine.campaigns.quiet_hours import QuietHours
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.drain import Audience

SQL = load_queries(__package__)
MOST_PEOPLE = 5_000  # looked at: 0.1 s, and the share of a zone to within 1.5 %
EVERYBODY: dict[str, list[object]] = {"and": []}


@dataclass(frozen=True, slots=True)
class Reach:
    """`zone_unknown`: recipients who would be denied, because there are quiet hours and nobody knows where they live."""

    audiences: list[Audience]
    zone_unknown: float

    @property
    def recipients(self) -> float:
        return sum(one.recipients for one in self.audiences)

    def scale(self, recipients: float, home: ZoneInfo, hours: QuietHours) -> "Reach":
        """Return as many recipients in the same shares; without anybody known all in the zone of the workspace."""
        if not self.recipients:
            return Reach([Audience(recipients, (home,), (hours,))], 0.0)
        factor = recipients / self.recipients
        return Reach([replace(one, recipients=one.recipients * factor) for one in self.audiences], 0.0)


@dataclass(frozen=True, slots=True)
class _Row:
    zones: list[str] | None
    rule_starts: time | None
    rule_ends: time | None
    people: float


async def load_campaign_reach(conn: Connection, campaign: Campaign, now: datetime) -> Reach:
    """Return who still waits for a campaign's message; before all are made, those whom its segment finds and who opted in."""
    hours = QuietHours(campaign.quiet_starts, campaign.quiet_ends)
    if campaign.filled_at is None:
        tree = campaign.filter or (await load_segment(conn, campaign.segment_id)).filter
        return await load_people_reach(conn, tree, hours, now)
    asked = {"campaign_id": campaign.id, "most": MOST_PEOPLE}
    return _gather(await SQL.list_waiting_audiences.many(conn, _Row, asked), hours)


async def load_people_reach(conn: Connection, tree: object, hours: QuietHours, now: datetime) -> Reach:
    """Return the people whom a filter finds and who opted in. Errors: Invalid."""
    people = sum((await count_users(conn)).values())
    condition, parameters = compile_filter(tree, now)
    asked = {"share_percent": min(100.0, 100 * MOST_PEOPLE / max(1, people)), "people": people}
    async with conn.cursor(row_factory=class_row(_Row)) as cursor:
        await cursor.execute(
            sql.SQL(SQL.list_people_audiences.sql).format(condition=condition), parameters | asked
        )
        return _gather(await cursor.fetchall(), hours)


def _gather(rows: Sequence[_Row], own: QuietHours) -> Reach:
    people: dict[tuple[tuple[ZoneInfo, ...], tuple[QuietHours, ...]], float] = {}
    unknown = 0.0
    for row in rows:
        hours = [own]
        if row.rule_starts is not None and row.rule_ends is not None:
            hours.append(QuietHours(row.rule_starts, row.rule_ends))
        kept = tuple(one for one in hours if not one.is_empty)
        zones = _find_zones(row.zones or []) if kept else ()
        if kept and not zones:
            unknown += row.people
        else:
            people[zones, kept] = people.get((zones, kept), 0.0) + row.people
    return Reach([Audience(count, *key) for key, count in people.items()], unknown)


def _find_zones(names: Sequence[str]) -> tuple[ZoneInfo, ...]:
    try:
        return tuple(ZoneInfo(name) for name in names)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ()
