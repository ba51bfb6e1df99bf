"""Scheduled queries at work: claimed for one worker, run outside of any transaction, and told in the one that records them.

A worker that dies while a query runs leaves a claim that runs out, and another one runs it again; the notice of a time
that was due has one key, so nobody is told twice. Numbers of people are masked, whoever asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import NotFound
from event_stream_engine.notifications import outbox
from event_stream_engine.notifications.notice import Notice
from event_stream_engine.reporting.query_schedules import find_next
from event_stream_engine.workbench.parameters import Value
from event_stream_engine.workbench.result_text import write_csv, write_lines
from event_stream_engine.workbench.running import Result
from event_stream_engine.workbench.saved_queries import SavedQuery, find_query

SQL = load_queries(__package__)
SCHEDULER = Actor("engine:scheduler")
CLAIM = timedelta(minutes=3)  # well above the longest query
GIVE_UP_AFTER = timedelta(hours=1)  # of trying, while the database for queries is away
KEPT = timedelta(days=90)
MOST_FORGOTTEN = 100
MOST_RUNS = 10  # of a schedule, in lists
LARGEST_CSV_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Claim:
    """A schedule that is due, and until when it is this worker's."""

    id: UUID
    query_id: UUID
    given: Mapping[str, Value | None]
    weekday: int | None
    runs_at: time
    channel_id: UUID
    owner: str
    due_at: datetime
    claimed_until: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a time that was due; a reason says why it failed."""

    schedule_id: UUID
    due_at: datetime
    ran_at: datetime
    query_version: int
    reason: str
    duration_ms: float | None
    row_count: int | None
    is_truncated: bool


async def claim_schedule(conn: Connection, now: datetime) -> tuple[Claim, SavedQuery] | None:
    """Take the schedule that has been due for longest, if one is, with its query."""
    claim = await SQL.claim_query_schedule.maybe(conn, Claim, {"now": now, "claimed_until": now + CLAIM})
    if claim is None:
        return None
    query = await find_query(conn, claim.query_id)
    return None if query is None else (claim, query)  # deleted just now, and the schedule with it


async def record_result(
    conn: Connection, claim: Claim, query: SavedQuery, result: Result, *, zone: ZoneInfo, now: datetime
) -> bool:
    """Keep a result, tell it, and make the schedule due again; False, and nothing, when the claim has run out."""
    csv, is_whole = write_csv(result.columns, result.rows, LARGEST_CSV_BYTES)
    count = len(result.rows)
    run = Run(
        claim.id,
        claim.due_at,
        now,
        query.version,
        "",
        result.duration_ms,
        count,
        result.truncated or not is_whole,
    )
    rows = f"{count:,} row{'' if count == 1 else 's'}"
    facts = [("Rows", rows + (", cut off" if run.is_truncated else ""))]
    text = write_lines(result.columns, result.rows)
    notice = _make_notice(claim, query, rows, text, facts=facts, now=now)
    return await _record(conn, claim, run, csv, notice=notice, zone=zone)


async def record_failure(
    conn: Connection, claim: Claim, query: SavedQuery, reason: str, *, zone: ZoneInfo, now: datetime
) -> bool:
    """Keep and tell why a query could not be run; it is due again at its next time. False when the claim has run out."""
    run = Run(claim.id, claim.due_at, now, query.version, reason, None, None, is_truncated=False)
    notice = _make_notice(claim, query, "it could not be run", reason, severity="warning", now=now)
    return await _record(conn, claim, run, None, notice=notice, zone=zone)


async def list_runs(conn: Connection, schedule_ids: Sequence[UUID]) -> list[Run]:
    """Return the last runs of some schedules, the newest first."""
    return await SQL.list_query_runs.many(conn, Run, {"schedule_ids": list(schedule_ids), "most": MOST_RUNS})


async def load_csv(conn: Connection, schedule_id: UUID, due_at: datetime) -> str:
    """Return the result of a run. Errors: NotFound."""
    csv: str | None = await SQL.find_query_result.value(conn, {"schedule_id": schedule_id, "due_at": due_at})
    if csv is None:
        raise NotFound("There is no result of this time: it failed, was never due, or is older than 90 days.")
    return csv


async def forget_runs(conn: Connection, now: datetime) -> None:
    """Drop the oldest results."""
    await SQL.forget_query_runs.execute(conn, {"before": now - KEPT, "most": MOST_FORGOTTEN})


async def _record(
    conn: Connection, claim: Claim, run: Run, csv: str | None, *, notice: Notice, zone: ZoneInfo
) -> bool:
    # What was missed while no worker ran is made up for once, not once for each time.
    next_at = find_next(claim.weekday, claim.runs_at, zone, max(run.ran_at, claim.due_at))
    ended = {"id": claim.id, "claimed_until": claim.claimed_until, "due_at": next_at}
    if not await SQL.end_query_claim.execute(conn, ended):
        return False
    columns = {name: getattr(run, name) for name in Run.__slots__}
    await SQL.add_query_run.execute(conn, columns | {"csv": csv})
    await outbox.queue(conn, [notice], [claim.channel_id])
    after = {
        "query": str(claim.query_id),
        "version": run.query_version,
        "due_at": format_instant(run.due_at),
        "rows": run.row_count,
        "failed": bool(run.reason),
    }
    await record(
        conn, SCHEDULER, Entry(run.ran_at, "query_schedule.ran", f"query_schedule:{claim.id}", after=after)
    )
    return True


def _make_notice(
    claim: Claim,
    query: SavedQuery,
    outcome: str,
    text: str,
    *,
    facts: Sequence[tuple[str, str]] = (),
    severity: str = "info",
    now: datetime,
) -> Notice:
    return Notice(
        key=uuid5(claim.id, claim.due_at.isoformat()),
        kind="query.ran",
        severity=severity,
        labels={"query": query.name},
        group=f"query_schedule:{claim.id}",
        episode_id=None,
        title=f"{query.name}: {outcome}",
        text=text,
        facts=(*facts, ("Due", format_instant(claim.due_at))),
        path=f"/reports/queries/{query.id}#schedules",
        at=now,
    )
