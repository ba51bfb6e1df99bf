"""What people's queries may read: views, their columns, and what each of them is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.workbench.readers import Readers

SQL = load_queries(__package__)


class TableColumn(TypedDict):
    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    description: str
    columns: Sequence[TableColumn]


async def list_tables(conn: Connection, readers: Readers, *, sees_numbers: bool) -> list[Table]:
    """Return the views that somebody's queries may read, by name."""
    schemas = readers.find_reader(sees_numbers=sees_numbers).schemas
    return await SQL.list_tables.many(conn, Table, {"schemas": list(schemas)})
