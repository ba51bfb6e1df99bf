"""Can we prove it: consent, quiet hours, pace and audit trail of what was handed over, with the rows behind."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict
from starlette.requests import Request

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.compliance import (
    KINDS,
    REPLIES,
    Compliance,
    HandOvers,
    Violation,
    list_violations,
    load_compliance,
)
from event_stream_engine.analytics.compliance_check import recheck_window
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.kernel.stats import percent
from event_stream_engine.kernel.windows import Window
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.figures import describe_frame
from event_stream_engine.web.periods import CAMPAIGN_PERIOD_PARAMETERS, read_campaign_period
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/compliance", tags=["compliance"])
_NOTHING = "Nothing was handed over in this window."


class RecheckBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime
    until: AwareDatetime


@router.get("", openapi_extra=CAMPAIGN_PERIOD_PARAMETERS)
async def show_compliance(request: Request) -> dict[str, Any]:
    """What was handed over to the provider in the window, judged anew from raw rows."""
    resources = resources_of(request)
    period, campaign_id = read_campaign_period(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_compliance(conn, period.window, campaign_id)
    return describe_frame(request, period.window) | describe_compliance(found)


@router.get("/violations", openapi_extra=CAMPAIGN_PERIOD_PARAMETERS)
async def show_violations(
    request: Request,
    kind: Annotated[str | None, Query(description=f"Only of one kind: {', '.join(KINDS)}")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Annotated[str | None, Query(description="next_cursor of the answer before")] = None,
) -> dict[str, Any]:
    """What was found wrong, newest first, each with its evidence; numbers are masked."""
    resources = resources_of(request)
    period, campaign_id = read_campaign_period(request, "kind", "limit", "cursor")
    check_kind(kind)
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await list_violations(
            conn, period.window, campaign_id, kind=kind, most=limit + 1, before=before
        )
    shown = found[:limit]
    last = shown[-1] if len(found) > limit else None
    return describe_frame(request, period.window) | {
        "items": [_describe_violation(violation) for violation in shown],
        "next_cursor": None if last is None else write_cursor(format_instant(last.at), last.id),
    }


@router.post("/recheck", dependencies=[Depends(require_role(Role.operator))])
async def recheck(request: Request, body: RecheckBody) -> dict[str, Any]:
    """Judge consent and history of a window once more: finds what was changed or removed after the check."""
    resources = resources_of(request)
    window = Window(body.since, body.until)
    if window.since >= window.until:
        raise Invalid("The period ends before it begins. Exchange since and until.", "since")
    async with resources.pool.connection() as conn, transaction(conn):
        rechecked = await recheck_window(conn, actor_of(request), window, resources.clock.now())
        found = await load_compliance(conn, window, None)
    return describe_frame(request, window) | {"rechecked": rechecked} | describe_compliance(found)


def check_kind(kind: str | None) -> None:
    """Errors: Invalid when there is no such kind of violation."""
    if kind is not None and kind not in KINDS:
        raise Invalid(f"{kind!r} is no kind; use one of {', '.join(KINDS)}.", "kind")


def describe_compliance(found: Compliance) -> dict[str, Any]:
    """Return the documented object, with numerator and denominator of its rates."""
    count = found.campaigns
    total = count.handed_over
    consented, awake = total - count.unconsented, total - count.quiet - count.zone_unknown
    complete = total - count.missing
    metrics = {
        "consent_verification": {
            "total_messages_sent": total,
            "consent_verified_count": consented,
            "consent_missing_count": count.unconsented,
            "compliance_rate": percent(consented, total),
        },
        "quiet_hours_compliance": {
            "messages_during_quiet_hours": count.quiet,
            "messages_in_unknown_time_zones": count.zone_unknown,
            "messages_rescheduled": count.rescheduled,
            "compliance_rate": percent(awake, total),
        },
        "rate_limit_adherence": {
            "rate_limit_violations": count.over_limit,
            "seconds_sending": count.seconds,
            "average_send_rate": count.per_second,
            "peak_send_rate": count.peak if count.seconds else None,
            "compliance_status": count.pace_status,
        },
        "audit_trail_completeness": {
            "events_logged": count.logged,
            "missing_audit_entries": count.missing,
            "audit_coverage": percent(complete, total),
        },
    }
    rates = {
        "consent_verification.compliance_rate": (consented, total),
        "quiet_hours_compliance.compliance_rate": (awake, total),
        "rate_limit_adherence.average_send_rate": (total, count.seconds),
        "audit_trail_completeness.audit_coverage": (complete, total),
    }
    nulls = (*rates, "rate_limit_adherence.peak_send_rate", "rate_limit_adherence.compliance_status")
    oldest = found.oldest_unchecked_at
    return {
        "compliance_metrics": metrics,
        "auto_replies": None if found.replies is None else _describe_replies(found.replies),
        "oldest_unchecked_at": None if oldest is None else format_instant(oldest),
        "rates": {
            f"compliance_metrics.{name}": {"numerator": numerator, "denominator": denominator}
            for name, (numerator, denominator) in rates.items()
        },
        "unknown": {} if total else {f"compliance_metrics.{name}": _NOTHING for name in nulls},
    }


def _describe_replies(replies: HandOvers) -> dict[str, int]:
    return {
        "handed_over": replies.handed_over,
        "without_consent": replies.unconsented,
        "events_logged": replies.logged,
        "missing_audit_entries": replies.missing,
    }


def _describe_violation(violation: Violation) -> dict[str, Any]:
    phone = violation.recipient_phone
    return {
        "id": str(violation.id),
        "kind": violation.kind,
        "at": format_instant(violation.at),
        "campaign_id": None if violation.campaign_id == REPLIES else str(violation.campaign_id),
        "campaign_name": violation.campaign_name,
        "message_id": None if violation.kind == "rate" else str(violation.message_id),
        "recipient": None if phone is None else mask_phone(phone),
        "evidence": violation.evidence,
        "found_at": format_instant(violation.found_at),
    }
