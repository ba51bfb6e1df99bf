"""Figures of the people: consent, attributes, signups."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.consent import load_consent, load_consent_changes
from event_stream_engine.analytics.demographics import load_demographics
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.formats import format_growth
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.figures import describe_frame
from event_stream_engine.web.periods import (
    PERIOD_PARAMETERS,
    describe_window,
    read_period,
    read_period_with,
)
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/analytics", tags=["analytics"])


@router.get("/consent", openapi_extra=PERIOD_PARAMETERS)
async def show_consent(request: Request) -> dict[str, Any]:
    """Users by consent state now, opt-outs of the day in which the window ends, STOP words and transitions of the window."""
    resources = resources_of(request)
    period, zone = read_period(request), resources.settings.timezone
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_consent(conn, period.window, zone)
        changes = await load_consent_changes(conn, period.window, period.step, zone)
    users = found.by_state
    rates = {"opt_in_rate": users["OPT_IN"], "opt_out_rate": users["OPT_OUT"], "stop_rate": users["STOP"]}
    return describe_frame(request, period.window) | {
        "consent_analytics": {
            "opt_in_users": users["OPT_IN"],
            "opt_out_users": users["OPT_OUT"],
            "stop_users": users["STOP"],
            "unknown_users": users["UNKNOWN"],
            "consent_rates": {name: percent(count, found.total) for name, count in rates.items()},
            "consent_trends": {
                "daily_opt_outs": {
                    "today": found.opt_outs_today,
                    "yesterday": found.opt_outs_yesterday,
                    "trend": found.trend,
                },
                "stop_commands_24h": found.stop_commands,
            },
        },
        "total_users": found.total,
        "transitions": changes.by_state,
        "transitions_by_source": changes.by_source,
        "series": [{"at": format_instant(point.at), **point.by_state} for point in changes.points],
        "rates": {name: {"numerator": count, "denominator": found.total} for name, count in rates.items()},
        "unknown": {} if found.total else {"consent_analytics.consent_rates": "There are no users yet."},
    }


@router.get("/demographics", openapi_extra=describe_window("30d"))
async def show_demographics(request: Request) -> dict[str, Any]:
    """Users by the configured attributes now, and signups of the window against the window before."""
    resources = resources_of(request)
    period = read_period_with(request, default="30d")
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_demographics(conn, period.window, period.step, resources.settings.timezone)
    growth = found.growth_percent
    return describe_frame(request, period.window) | {
        "user_demographics": {
            **{f"by_{name}": counts for name, counts in found.by_attribute.items()},
            "signup_trends": {
                "last_30_days": found.signups,
                "previous_30_days": found.signups_before,
                "growth_rate": None if growth is None else format_growth(growth),
            },
        },
        "total_users": found.total,
        "series": [{"at": format_instant(point.at), "signups": point.users} for point in found.points],
        "rates": {
            "growth_rate": {
                "numerator": found.signups - found.signups_before,
                "denominator": found.signups_before,
            }
        },
        "unknown": {}
        if growth is not None
        else {"user_demographics.signup_trends.growth_rate": "Nobody signed up in the window before."},
    }
