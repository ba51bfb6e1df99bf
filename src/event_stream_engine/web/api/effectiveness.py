"""What works: campaigns, segments and templates by delivery rate, the way of new people, and what made people leave."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from event_stream_engine.analytics.effectiveness import EffectivenessRow, list_effectiveness
from event_stream_engine.analytics.funnel import FunnelRow, load_funnel
from event_stream_engine.analytics.opt_outs import OptOutRow, load_opt_outs
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.figures import describe_frame, describe_rate
from event_stream_engine.web.periods import PERIOD_PARAMETERS, describe_window, read_period, read_period_with
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/analytics", tags=["analytics"])
_EFFECTIVENESS_PERIOD, _FUNNEL_PERIOD = "30d", "90d"  # as in the document


@router.get("/effectiveness", openapi_extra=describe_window(_EFFECTIVENESS_PERIOD))
async def show_effectiveness(request: Request) -> dict[str, Any]:
    """Campaigns made in the window by delivery rate, counted over all their message rows; by segment and template too."""
    window = read_period_with(request, default=_EFFECTIVENESS_PERIOD).window
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await list_effectiveness(conn, window)
    return describe_frame(request, window) | {
        "campaign_effectiveness": [
            {
                "campaign_id": str(row.id),
                "campaign_name": row.name,
                "segment_name": row.segment,
                "template_name": row.template,
                **_describe_effectiveness(row),
            }
            for row in found["campaign"]
        ],
        **{
            f"by_{kind}": [
                {
                    f"{kind}_id": str(row.id),
                    f"{kind}_name": row.name,
                    "campaigns": row.campaigns,
                    **_describe_effectiveness(row),
                }
                for row in found[kind]
            ]
            for kind in ("segment", "template")
        },
    }


@router.get("/funnel", openapi_extra=describe_window(_FUNNEL_PERIOD))
async def show_funnel(request: Request) -> dict[str, Any]:
    """People who were made users in the window: messages and answers by consent state, and how far they came.

    Counted from the rows at the moment of the request: its cost follows the people of the window.
    """
    window = read_period_with(request, default=_FUNNEL_PERIOD).window
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await load_funnel(conn, window)
    subscribed = found.steps["subscribed"]
    reasons = {
        f"user_engagement_funnel.{place}.engagement_rate": "Nobody of this state has a message."
        for place, row in enumerate(found.rows)
        if row.engagement_rate is None
    }
    if not subscribed:
        reasons["journey"] = "Nobody was made a user in this window."
    return describe_frame(request, window) | {
        "user_engagement_funnel": [_describe_state(row) for row in found.rows],
        "journey": [
            {"step": step, "users": users, "percent_of_subscribed": percent(users, subscribed)}
            for step, users in found.steps.items()
        ],
        "unknown": reasons,
    }


@router.get("/opt-outs", openapi_extra=PERIOD_PARAMETERS)
async def show_opt_outs(request: Request) -> dict[str, Any]:
    """Messages of the window that were answered with STOP within 72 hours, by campaign and template."""
    window = read_period(request).window
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await load_opt_outs(conn, window)
    reasons = {}
    if not found.all_messages.denominator:
        reasons["opt_outs.opt_out_rate_percent"] = "No message was sent in this window."
    if not found.stops:
        reasons["opt_outs.not_attributed_percent"] = "Nobody went into STOP in this window."
    return describe_frame(request, window) | {
        "opt_outs": {
            "stop_transitions": found.stops,
            **_describe_stops(found.all_messages),
            "not_attributed": found.not_attributed,
            "not_attributed_percent": percent(found.not_attributed, found.stops),
        },
        "by_campaign": [
            {
                "campaign_id": row.id and str(row.id),
                "campaign_name": row.name,
                "template_name": row.template,
                **_describe_stops(row.rate),
            }
            for row in found.campaigns
        ],
        "by_template": [_describe_template(row) for row in found.templates],
        "unknown": reasons,
    }


def _describe_effectiveness(row: EffectivenessRow) -> dict[str, Any]:
    interval = describe_rate(Rate(row.delivered, row.messages_sent))
    return {
        "messages_sent": row.messages_sent,
        "delivered": row.delivered,
        "delivery_rate": row.delivery_rate,
        "low_percent": interval["low_percent"],
        "high_percent": interval["high_percent"],
    }


def _describe_state(row: FunnelRow) -> dict[str, Any]:
    return {
        "consent_state": row.consent_state,
        "users": row.users,
        "avg_messages_received": round(row.avg_messages_received, 4),
        "avg_responses": round(row.avg_responses, 4),
        "engagement_rate": row.engagement_rate,
        "messaged": row.messaged,
        "delivered": row.delivered,
        "read": row.read,
        "replied": row.replied,
    }


def _describe_template(row: OptOutRow) -> dict[str, Any]:
    return {
        "template_id": row.id and str(row.id),
        "template_name": row.name,
        **_describe_stops(row.rate),
    }


def _describe_stops(rate: Rate) -> dict[str, Any]:
    interval = describe_rate(rate)
    return {
        "messages_stopped": rate.numerator,
        "messages_sent": rate.denominator,
        "opt_out_rate_percent": rate.percent,
        "low_percent": interval["low_percent"],
        "high_percent": interval["high_percent"],
    }
