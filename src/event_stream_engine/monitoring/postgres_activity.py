"""Who works in the database at this moment, for how long, and who holds up whom."""

from dataclasses import dataclass

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.monitoring.postgres_text import find_purpose, mask_literals, shorten

SQL = load_queries(__package__)
LONG_SECONDS = 5.0
_MOST_READ = 2000


@dataclass(frozen=True, slots=True)
class _Row:
    pid: int
    role: str | None
    application: str
    client: str | None
    state: str
    wait: str | None
    query_seconds: float | None
    transaction_seconds: float | None
    text: str | None
    blocked_by: list[int]


@dataclass(frozen=True, slots=True)
class Session:
    """A session that works or holds up another. `text` is without literals and cut; None: another role's. `depth`: how many
    others, one behind the other, it waits for."""

    pid: int
    role: str | None
    application: str
    client: str | None
    state: str
    wait: str | None
    query_seconds: float | None
    transaction_seconds: float | None
    purpose: str | None
    text: str | None
    blocked_by: list[int]
    depth: int

    @property
    def is_long(self) -> bool:
        return max(self.query_seconds or 0, self.transaction_seconds or 0) >= LONG_SECONDS


@dataclass(frozen=True, slots=True)
class Replica:
    """A replica of the server; lags are None when it is not for this role to see, or when there is nothing to replay."""

    name: str
    client: str | None
    state: str | None
    sync_state: str | None
    lag_bytes: int | None
    lag_seconds: float | None


async def list_sessions(conn: Connection) -> list[Session]:
    """Return who works, the longest transaction first, and behind each one those who wait for it."""
    rows = await SQL.list_sessions.many(conn, _Row, {"most": _MOST_READ})
    return [_describe(row, depth) for row, depth in _order(rows)]


async def list_replicas(conn: Connection) -> list[Replica]:
    return await SQL.list_replicas.many(conn, Replica)


def _order(rows: list[_Row]) -> list[tuple[_Row, int]]:
    """Put each session once, behind the first of those it waits for; a circle, which PostgreSQL soon breaks, begins anywhere."""
    ordered: list[tuple[_Row, int]] = []
    placed: set[int] = set()
    pids = {row.pid for row in rows}

    def place(row: _Row, depth: int) -> None:
        if row.pid in placed:
            return
        placed.add(row.pid)
        ordered.append((row, depth))
        for other in rows:
            if row.pid in other.blocked_by:
                place(other, depth + 1)

    for row in rows:
        if not pids & set(row.blocked_by):
            place(row, 0)
    for row in rows:
        place(row, 0)
    return ordered


def _describe(row: _Row, depth: int) -> Session:
    text = row.text and mask_literals(row.text)
    return Session(
        pid=row.pid,
        role=row.role,
        application=row.application,
        client=row.client,
        state=row.state,
        wait=row.wait,
        query_seconds=row.query_seconds,
        transaction_seconds=row.transaction_seconds,
        purpose=find_purpose(text or ""),
        text=text and shorten(text, 300),
        blocked_by=row.blocked_by,
        depth=depth,
    )
