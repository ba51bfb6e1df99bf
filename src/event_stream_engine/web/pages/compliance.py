"""`/compliance`: can we prove it?"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.compliance import REPLIES, Violation, list_violations, load_compliance
from event_stream_engine.analytics.compliance_check import RECHECKED
from event_stream_engine.audit.anchors import FILE_NAME, find_last_anchor
from event_stream_engine.audit.chain import load_chain_status
from event_stream_engine.audit.trails import list_of_subject
from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.formats import format_clock, format_duration, format_moment, format_number
from event_stream_engine.kernel.stats import percent
from event_stream_engine.web.api.compliance import check_kind
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.pages.exports import link_export
from event_stream_engine.web.periods import PERIODS, read_campaign_period
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of
from event_stream_engine.web.wording import CONSENT_STATES

router = APIRouter(include_in_schema=False)
PAGE_LENGTH = 25
_PLACE = ("period", "since", "until", "campaign_id", "kind")


@dataclass(frozen=True, slots=True)
class ViolationRow:
    """`href` leads to the decision about the message."""

    violation: Violation
    evidence: str
    href: str | None


@router.get("/compliance")
async def show_compliance(request: Request, kind: str | None = None, cursor: str | None = None) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    period, campaign_id = read_campaign_period(request, "kind", "cursor")
    check_kind(kind)
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await load_compliance(conn, period.window, campaign_id)
        listed = await list_violations(
            conn, period.window, campaign_id, kind=kind, most=PAGE_LENGTH + 1, before=before
        )
        rechecks = await list_of_subject(conn, RECHECKED, 1)
        chain = await load_chain_status(conn)
        campaign = await load_campaign(conn, campaign_id) if campaign_id else None
    shown, count = listed[:PAGE_LENGTH], found.campaigns
    asked = {name: value for name in _PLACE if (value := request.query_params.get(name))}
    oldest = found.oldest_unchecked_at

    def link(**changes: str | None) -> str:
        query = urlencode({name: value for name, value in (asked | changes).items() if value})
        return f"/compliance?{query}" if query else "/compliance"

    last = shown[-1] if len(listed) > PAGE_LENGTH else None
    ends = {"since": format_instant(period.window.since), "until": format_instant(period.window.until)}
    return render(
        request,
        "compliance.html",
        period=period,
        periods=PERIODS,
        as_of=now,
        zone=zone,
        count=count,
        consented_percent=percent(count.handed_over - count.unconsented, count.handed_over),
        awake_percent=percent(count.handed_over - count.quiet - count.zone_unknown, count.handed_over),
        complete_percent=percent(count.handed_over - count.missing, count.handed_over),
        replies=found.replies,
        campaign=campaign,
        rows=[
            ViolationRow(violation, describe_evidence(violation, zone), _link_message(violation))
            for violation in shown
        ],
        kind=kind,
        link=link,
        next_href=link(cursor=write_cursor(format_instant(last.at), last.id)) if last else None,
        first_href=link() if cursor else None,
        export=f"/api/v1{link()}".replace("/compliance", "/compliance/violations", 1),
        behind_seconds=None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        recheck=rechecks[0] if rechecks else None,
        chain=chain,
        anchor=find_last_anchor(resources.settings.data_dir / FILE_NAME),
        since=ends["since"],
        until=ends["until"],
        exports={name: link_export(name, ends) for name in ("audit", "consent")},
        may_write=may_write(request),
    )


def describe_evidence(violation: Violation, zone: ZoneInfo) -> str:
    """Say in a few words what proves that it was wrong."""
    evidence = violation.evidence
    match violation.kind:
        case "consent":
            return _describe_consent(evidence, violation.at, zone)
        case "quiet_hours":
            return f"{evidence['clock']} in {evidence['zone']}, quiet {evidence['starts']}–{evidence['ends']}"
        case "zone_unknown":
            named = evidence.get("zone")
            return f"{named} is not known here" if named else "No zone is known for the number"
        case "rate":
            return f"{format_number(evidence['handed_over'])} in one second, the limit is {format_number(evidence['limit'])}"
        case "decision_missing":
            return "The log has the outcome, the audit trail no decision"
        case _:
            return f"Decision {evidence.get('audit_id')} has no {evidence.get('event')} in the log"


def _describe_consent(evidence: dict[str, Any], at: datetime, zone: ZoneInfo) -> str:
    state = evidence["state"]
    if state == "UNKNOWN":
        return "No entry of the ledger from before says opted in"
    said, known = (datetime.fromisoformat(evidence[name]) for name in ("said_at", "known_at"))
    since = format_clock(said, zone) if at - said < timedelta(days=1) else format_moment(said, zone)
    text = f"The ledger says {CONSENT_STATES[state][1]} since {since}"
    if known > at:
        late = format_duration((known - at).total_seconds())
        text += f", known {late} after the hand-over"
    return text


def _link_message(violation: Violation) -> str | None:
    if violation.kind == "rate" or violation.campaign_id == REPLIES or violation.recipient_phone is None:
        return None
    return f"/campaigns/{violation.campaign_id}/messages/{violation.message_id}"
