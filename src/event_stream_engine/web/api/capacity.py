"""Capacity: the document's object, what it rests on, and what would be if."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from event_stream_engine.infra.database import snapshot
from event_stream_engine.insights.capacity import Capacity, load_capacity
from event_stream_engine.insights.outlook import DayAhead, PastDay, find_full_on, list_ahead, list_past
from event_stream_engine.insights.projection import LEVEL_PERCENT, Estimate
from event_stream_engine.insights.what_if import Scenario, reckon
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.web.capacity_questions import CapacityQuery
from event_stream_engine.web.figures import describe_frame
from event_stream_engine.web.periods import refuse_unknown
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/insights", tags=["insights"])
MB, GB = 1_000_000, 1_000_000_000


@router.get("/capacity")
async def show_capacity(request: Request, asked: Annotated[CapacityQuery, Query()]) -> dict[str, Any]:
    """Present use, the projection of three months with its interval, what to scale and why, and a what-if.

    `window` is the full days of present use. Days of `history` and `ahead` are local ones, sizes those at the end of the day
    in UTC. A megabyte is a million bytes.
    """
    refuse_unknown(request, tuple(CapacityQuery.model_fields))
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_capacity(conn, zone, now)
        scenario = await reckon(conn, found, asked.assumptions, now)
    past, ahead, projected, storage = (
        list_past(found, zone),
        list_ahead(found, zone),
        found.projected,
        found.storage,
    )
    answer = {
        "capacity_metrics": describe_capacity(found),
        "peak_hour_at": found.peak_hour_at and format_instant(found.peak_hour_at),
        "interval_percent": LEVEL_PERCENT,
        "intervals": {
            "daily_volume": _describe_interval(projected.daily_volume, 1),
            "storage_needs_gb": _describe_interval(projected.storage_bytes, GB),
            "additional_users": _describe_interval(projected.additional_users, 1),
        },
        "storage": {
            "database_bytes": storage.size.bytes,
            "disk_host": storage.disk and storage.disk.host,
            "disk_total_bytes": storage.disk and storage.disk.total_bytes,
            "disk_free_bytes": storage.disk and storage.disk.free_bytes,
            "full_on": _write_day(found, storage.full_in_days),
            "full_on_at_earliest": _write_day(found, storage.full_in_days_at_earliest),
        },
        "tables": [
            {
                "name": table.state.relation,
                "size_bytes": table.state.bytes,
                "growth_bytes_per_day": _round(table.growth_bytes_per_day, 0),
            }
            for table in found.tables
        ],
        "scaling": [asdict(one) for one in found.scaling],
        "what_if": _describe_scenario(found, scenario),
        "history": [_describe_past(day) for day in past],
        "ahead": [_describe_ahead(day) for day in ahead],
    }
    reasons = found.unknown | _explain(found, scenario)
    unknown = {place: reason for place, reason in reasons.items() if _lacks_something(answer, place)}
    return describe_frame(request, found.window) | answer | {"unknown": unknown}


def describe_capacity(found: Capacity) -> dict[str, Any]:
    """Return the document's object."""
    growth, disk, projected = found.storage.growth_bytes_per_day, found.storage.disk, found.projected
    return {
        "current_utilization": {
            "daily_message_volume": _round(found.daily_message_volume, 0),
            "peak_hourly_rate": found.peak_hourly_rate,
            "database_growth_mb_day": None if growth is None else round(growth / MB, 3),
            "storage_usage_percent": disk and disk.used_percent,
        },
        "projected_growth": {
            "3_month_projection": {
                "daily_volume": _round(_find_value(projected.daily_volume), 0),
                "storage_needs_gb": _round(_find_value(projected.storage_bytes, GB), 3),
                "additional_users": _round(_find_value(projected.additional_users), 0),
            },
            "scaling_recommendations": [one.text for one in found.scaling],
        },
    }


def _find_value(estimate: Estimate | None, unit: int = 1) -> float | None:
    return None if estimate is None else estimate.value / unit


def _describe_interval(estimate: Estimate | None, unit: int) -> dict[str, float | None]:
    digits = 0 if unit == 1 else 3
    low, high = (None, None) if estimate is None else (estimate.low / unit, estimate.high / unit)
    return {"low": _round(low, digits), "high": _round(high, digits)}


def _describe_past(day: PastDay) -> dict[str, Any]:
    return {
        "on": day.on.isoformat(),
        "messages": _round(day.messages, 0),
        "new_users": _round(day.new_users, 0),
        "database_bytes": _round(day.database_bytes, 0),
    }


def _describe_ahead(day: DayAhead) -> dict[str, Any]:
    return {
        "on": day.on.isoformat(),
        "messages": day.messages and _round_all(day.messages),
        "database_bytes": day.database_bytes and _round_all(day.database_bytes),
    }


def _round_all(estimate: Estimate) -> dict[str, int]:
    return {name: round(value) for name, value in asdict(estimate).items()}


def _describe_scenario(found: Capacity, one: Scenario) -> dict[str, Any]:
    return {
        "volume_factor": one.assumptions.volume_factor,
        "retention_days": one.assumptions.retention_days,
        "senders": one.senders,
        "daily_volume": _round(one.daily_volume, 0),
        "peak_hourly_rate": _round(one.peak_hourly_rate, 0),
        "sender_rate_per_second": _round(one.sender_rate_per_second, 3),
        "database_growth_mb_day": _round(one.growth_bytes_per_day and one.growth_bytes_per_day / MB, 3),
        "processor_percent": _round(one.processor_percent, 1),
        "disk_full_on": _write_day(found, one.full_in_days),
        "log_bytes": _round(one.log_bytes, 0),
        "log_freed_bytes": one.log_freed_bytes,
    }


def _explain(found: Capacity, scenario: Scenario) -> dict[str, str]:
    """Return why figures beside the document's are null."""
    use = "capacity_metrics.current_utilization"
    ahead = "capacity_metrics.projected_growth.3_month_projection"
    no_projection = {
        name: reason
        for name in ("daily_volume", "storage_needs_gb", "additional_users")
        if (reason := found.unknown.get(f"{ahead}.{name}"))
    }
    no_disk = found.unknown.get(f"{use}.storage_usage_percent")
    reasons = {f"intervals.{name}": reason for name, reason in no_projection.items()}
    if no_projection:
        reasons["ahead"] = next(iter(no_projection.values()))
    if no_disk:
        reasons |= {
            f"storage.{name}": no_disk for name in ("disk_host", "disk_total_bytes", "disk_free_bytes")
        }
    not_full = no_disk or no_projection.get("storage_needs_gb") or "Not within a year, as it grows now."
    reasons |= {
        place: not_full
        for place, days in (
            ("storage.full_on", found.storage.full_in_days),
            ("storage.full_on_at_earliest", found.storage.full_in_days_at_earliest),
            ("what_if.disk_full_on", scenario.full_in_days),
        )
        if days is None
    }
    for name, source in (
        ("daily_volume", "daily_message_volume"),
        ("peak_hourly_rate", "peak_hourly_rate"),
        ("database_growth_mb_day", "database_growth_mb_day"),
    ):
        if reason := found.unknown.get(f"{use}.{source}"):
            reasons[f"what_if.{name}"] = reason
    return reasons | {
        "peak_hour_at": "No message was sent in these days.",
        "history": "A figure is null on days before its first one, and a size where nobody has looked yet.",
        "tables": "A size is null before the first look at the database, growth before a day is known.",
        "what_if.processor_percent": "No host was measured for five hours of the last 7 days yet.",
        "what_if.sender_rate_per_second": "No sender had a message in these days, or no full day has passed.",
        "what_if.retention_days": "Nothing was asked for: all of the log is kept.",
        "what_if.log_bytes": "Name retention_days; growth of the log is known after a day.",
        "what_if.log_freed_bytes": "Name retention_days.",
    }


def _lacks_something(answer: Any, place: str) -> bool:
    """Tell whether something is null at a place, or under it; an empty list lacks all it could have."""
    for name in place.split("."):
        answer = answer[name]
    return _has_null(answer) or answer == []


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    return any(map(_has_null, value)) if isinstance(value, list) else value is None


def _write_day(found: Capacity, days: int | None) -> str | None:
    on = find_full_on(found, days)
    return None if on is None else on.isoformat()


def _round(value: float | None, digits: int) -> float | None:
    """Round for an answer; without digits it becomes a whole number."""
    if value is None:
        return None
    return round(value, digits) if digits else round(value)
