"""What subjects are called: a campaign by its name, a country or channel as it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from event_stream_engine.alerting.measure import ALL
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
_CAMPAIGN = "campaign:"


@dataclass(frozen=True, slots=True)
class _Name:
    id: UUID
    name: str


async def name_subjects(conn: Connection, subjects: Iterable[str]) -> dict[str, str]:
    """Return the names of subjects for people."""
    asked = set(subjects)
    ids = {one: UUID(one.removeprefix(_CAMPAIGN)) for one in asked if one.startswith(_CAMPAIGN)}
    found = {}
    if ids:
        rows = await SQL.list_campaign_names.many(conn, _Name, {"ids": list(ids.values())})
        found = {row.id: row.name for row in rows}
    return {
        one: found.get(ids[one], "a campaign that is gone")
        if one in ids
        else ("all traffic" if one == ALL else one.partition(":")[2])
        for one in asked
    }
