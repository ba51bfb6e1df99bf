"""What subjects are called: a campaign or saved query by its name, a country or channel as it is."""

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from event_stream_engine.alerting.measure import ALL
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
_GONE = {"campaign": "a campaign that is gone", "query": "a query that is gone"}


@dataclass(frozen=True, slots=True)
class _Name:
    id: UUID
    name: str


async def name_subjects(conn: Connection, subjects: Iterable[str]) -> dict[str, str]:
    """Return the names of subjects for people."""
    asked = set(subjects)
    ids = {one: UUID(which) for one in asked for kind, _, which in [one.partition(":")] if kind in _GONE}
    found: dict[UUID, str] = {}
    for kind, query in (("campaign", SQL.list_campaign_names), ("query", SQL.list_query_names)):
        wanted = [ids[one] for one in ids if one.startswith(f"{kind}:")]
        if wanted:
            found |= {row.id: row.name for row in await query.many(conn, _Name, {"ids": wanted})}
    return {one: _name(one, found.get(ids[one]) if one in ids else None) for one in asked}


def _name(subject: str, found: str | None) -> str:
    kind, _, which = subject.partition(":")
    if kind in _GONE:
        return found or _GONE[kind]
    return "all traffic" if subject == ALL else which
