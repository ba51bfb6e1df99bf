"""How the database is doing: the document's object, and the statements, tables, indexes and sessions behind it."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres import (
    DatabasePerformance,
    Loss,
    find_observed,
    list_settings,
    load_database_performance,
)
from event_stream_engine.monitoring.postgres_activity import Session, list_replicas, list_sessions
from event_stream_engine.monitoring.postgres_buckets import cover
from event_stream_engine.monitoring.postgres_indexes import Index, Verdict, judge_indexes, list_indexes
from event_stream_engine.monitoring.postgres_server import (
    find_missing_statements,
    list_missing,
    load_server,
)
from event_stream_engine.monitoring.postgres_statements import (
    OTHERS,
    Statement,
    list_statements,
    load_statement_totals,
)
from event_stream_engine.monitoring.postgres_tables import Table, list_tables
from event_stream_engine.web.figures import describe_frame
from event_stream_engine.web.periods import PERIOD_PARAMETERS, read_period, read_period_with, refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/monitoring/database", tags=["monitoring"])
_SOME_UNKNOWN = (
    "A ratio is null where nothing was read, a size before the first look at the database, growth before a day is known,"
    " bloat before the table was analysed, a definition while the table is being changed."
)


@router.get("", openapi_extra=PERIOD_PARAMETERS)
async def show_database(request: Request) -> dict[str, Any]:
    """Statements, pool and indexes in the window, the state of the database, and what cannot be seen of it."""
    now, period = resources_of(request).clock.now(), read_period(request)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await load_database_performance(conn, period.window, now)
        replicas, settings = await list_replicas(conn), await list_settings(conn)
    size, counts, pools = found.size, found.counts, found.pools
    (index_hit, index_blocks), (large_scans, large_reads) = found.index_blocks, found.large_scans
    return describe_frame(request, period.window) | {
        "database_performance": describe_performance(found),
        "database": {
            "size_bytes": size.bytes,
            "growth_bytes_per_day": _round(size.growth_bytes_per_day(now), 0),
            "cache_hit_ratio": found.cache_hit_ratio,
            "transactions_committed": counts.commits,
            "transactions_rolled_back": counts.rollbacks,
            "deadlocks": counts.deadlocks,
            "temporary_bytes": counts.temp_bytes,
            "wal_bytes": counts.wal_bytes,
            "transaction_id_age": size.xid_age,
            "transaction_id_limit": size.xid_limit,
        },
        "pool": {
            "processes": pools.processes,
            "requests_waiting": pools.waiting,
            "requests_failed": pools.failed,
            "connections_lost": pools.lost,
        },
        "replicas": [asdict(replica) for replica in replicas],
        "settings": {setting.name: setting.value for setting in settings},
        "measured": _describe_window(found.measured),
        "is_at_least": bool(found.losses),
        "losses": [_describe_loss(loss) for loss in found.losses],
        "missing": [asdict(missing) | {"text": str(missing)} for missing in found.missing],
        "rates": {
            "database_performance.index_efficiency.index_hit_ratio": {
                "numerator": index_hit,
                "denominator": index_blocks,
            },
            "database_performance.index_efficiency.table_scan_ratio": {
                "numerator": large_scans,
                "denominator": large_reads,
            },
            "database.cache_hit_ratio": {
                "numerator": counts.blocks_hit,
                "denominator": counts.blocks_hit + counts.blocks_read,
            },
        },
        "unknown": found.unknown | _explain_state(found, now),
    }


@router.get("/statements", openapi_extra=PERIOD_PARAMETERS)
async def show_statements(
    request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> dict[str, Any]:
    """The statements that took most time in the window, most first, as PostgreSQL normalised them."""
    now, period = resources_of(request).clock.now(), read_period_with(request, "limit")
    buckets = cover(period.window, now)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        missing = find_missing_statements(await load_server(conn))
        totals = await load_statement_totals(conn, buckets)
        found = await list_statements(conn, buckets, limit)
    return describe_frame(request, period.window) | {
        "statements": [_describe_statement(one, totals.total_ns) for one in found],
        "unknown": {"statements": str(missing) if missing else _SOME_UNKNOWN},
    }


@router.get("/tables", openapi_extra=PERIOD_PARAMETERS)
async def show_tables(request: Request) -> dict[str, Any]:
    """The tables as they are now, the largest first, with what happened to them in the window."""
    now, period = resources_of(request).clock.now(), read_period(request)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        tables = await list_tables(conn, cover(period.window, now), now)
    return describe_frame(request, period.window) | {
        "tables": [_describe_table(table) for table in tables],
        "unknown": {"tables": _SOME_UNKNOWN},
    }


@router.get("/indexes")
async def show_indexes(request: Request) -> dict[str, Any]:
    """The indexes as they are now, the largest first, and what of them is of no use, with the command that acts on it."""
    refuse_unknown(request, ())
    now = resources_of(request).clock.now()
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        indexes = await list_indexes(conn, now)
        observed = await find_observed(conn)
    verdicts = judge_indexes(indexes, observed.length if observed else timedelta(0))
    return {
        "as_of": format_instant(now),
        "verdicts": [_describe_verdict(verdict) for verdict in verdicts],
        "indexes": [_describe_index(index) for index in indexes],
        "unknown": dict.fromkeys(("verdicts", "indexes"), _SOME_UNKNOWN),
    }


@router.get("/activity")
async def show_activity(request: Request) -> dict[str, Any]:
    """Who works in the database now; behind each session those who wait for it. No text has data in it."""
    refuse_unknown(request, ())
    async with resources_of(request).pool.connection() as conn:
        server, sessions = await load_server(conn), await list_sessions(conn)
    return {
        "as_of": format_instant(resources_of(request).clock.now()),
        "sessions": [_describe_session(session) for session in sessions],
        "unknown": {
            "sessions": "There is no time where nothing is running, and no text of another role’s statement."
        }
        | {f"missing.{missing.name}": str(missing) for missing in list_missing(server)},
    }


def describe_performance(found: DatabasePerformance) -> dict[str, Any]:
    """Return the document's object."""
    statements, pools = found.statements, found.pools
    has_pools = bool(pools.processes)
    return {
        "query_metrics": {
            "average_query_time_ms": _round(statements.mean_ms, 4),
            "slowest_query_ms": _milliseconds(statements.slowest_ns),
            "fastest_query_ms": _milliseconds(statements.fastest_ns),
            "total_queries_24h": statements.calls if statements.calls else None,
        },
        "connection_pool": {
            "active_connections": pools.active if has_pools else None,
            "idle_connections": pools.idle if has_pools else None,
            "max_connections": pools.largest if has_pools else None,
            "connection_wait_time_ms": _round(pools.mean_wait_ms, 3),
        },
        "index_efficiency": {
            "index_hit_ratio": found.index_hit_ratio,
            "table_scan_ratio": found.table_scan_ratio,
            "index_usage_optimal": found.is_index_usage_optimal,
        },
    }


def _explain_state(found: DatabasePerformance, now: datetime) -> dict[str, str]:
    reasons = {}
    if found.size.growth_bytes_per_day(now) is None:
        reasons["database.growth_bytes_per_day"] = "Known a day after the first look at the database."
    if found.cache_hit_ratio is None:
        reasons["database.cache_hit_ratio"] = "Nothing was counted in this window."
    return reasons


def _describe_window(window: Window | None) -> dict[str, str] | None:
    if window is None:
        return None
    return {"since": format_instant(window.since), "until": format_instant(window.until)}


def _describe_loss(loss: Loss) -> dict[str, Any]:
    return {
        "kind": loss.kind,
        "at": loss.at and format_instant(loss.at),
        "unseen_since": loss.unseen_since and format_instant(loss.unseen_since),
        "times": loss.times,
    }


def _describe_statement(one: Statement, total_ns: int) -> dict[str, Any]:
    is_others = one.statement_id == OTHERS
    return {
        "id": "others" if is_others else str(one.statement_id),  # JSON's numbers end at 53 bits
        "purpose": "All other statements, and those of other roles" if is_others else one.purpose,
        "text": one.text,
        "calls": one.calls,
        "total_time_ms": _milliseconds(one.total_ns),
        "mean_time_ms": _round(one.mean_ms, 4),
        "slowest_ms": _milliseconds(one.slowest_ns),
        "fastest_ms": _milliseconds(one.fastest_ns),
        "share_percent": percent(one.total_ns, total_ns),
        "rows": one.rows,
        "cache_hit_ratio": one.hit_ratio,
        "disk_read_time_ms": _milliseconds(one.read_ns),
        "temporary_blocks": one.temp_blocks,
    }


def _describe_table(table: Table) -> dict[str, Any]:
    state, counts = table.state, table.counts
    return {
        "table": state.relation,
        "partitions": state.partitions,
        "rows": state.rows,
        "dead_rows": state.dead_rows,
        "dead_percent": table.dead_percent,
        "size_bytes": state.bytes,
        "index_bytes": state.index_bytes,
        "bloat_bytes": table.bloat_bytes,
        "growth_bytes_per_day": _round(table.growth_bytes_per_day, 0),
        "table_scans": counts.seq_scans,
        "index_scans": counts.index_scans,
        "rows_per_table_scan": _round(table.rows_per_scan, 1),
        "table_scan_ratio": table.scan_ratio,
        "cache_hit_ratio": table.hit_ratio,
        "rows_inserted": counts.inserted,
        "rows_updated": counts.updated,
        "rows_updated_in_place": counts.hot_updated,
        "rows_deleted": counts.deleted,
        "vacuumed_at": state.vacuumed_at and format_instant(state.vacuumed_at),
        "analyzed_at": state.analyzed_at and format_instant(state.analyzed_at),
        "transaction_id_age": state.xid_age,
        "lacks_index": table.lacks_index,
    }


def _describe_index(index: Index) -> dict[str, Any]:
    return {
        "index": index.relation,
        "table": index.table_name,
        "definition": index.definition,
        "is_unique": index.is_unique,
        "is_valid": index.is_valid,
        "size_bytes": index.bytes,
        "scans": index.scans,
        "scans_30_days": index.scans_kept,
    }


def _describe_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "kind": verdict.kind,
        "index": verdict.index.relation,
        "table": verdict.index.table_name,
        "size_bytes": verdict.index.bytes,
        "evidence": verdict.evidence,
        "command": verdict.command,
    }


def _describe_session(session: Session) -> dict[str, Any]:
    times = {
        "query_seconds": _round(session.query_seconds, 3),
        "transaction_seconds": _round(session.transaction_seconds, 3),
    }
    return asdict(session) | times | {"is_long": session.is_long}


def _milliseconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 4)


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
