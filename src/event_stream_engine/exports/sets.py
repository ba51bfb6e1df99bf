"""What can be exported: the sets of rows, their columns, the filters they take, who may have them."""

from collections.abc import Sequence
from dataclasses import dataclass

from event_stream_engine.access.roles import Role
from event_stream_engine.infra.queries import Query, load_queries
from event_stream_engine.kernel.errors import Invalid

SQL = load_queries(__package__)

WINDOW = ("since", "until")
SCOPE = (*WINDOW, "campaign_ids", "channel", "country", "sender")
PEOPLE = ("consent", "country", "phone", "number", "text")
CAMPAIGN = ("campaign_id", "first", "last", "status", "reason")


@dataclass(frozen=True, slots=True)
class Column:
    """`kind`: code (letters and digits of ours or the provider's), text (anybody's words), phone, instant, integer,
    number, boolean or json; of people's queries also decimal (a number that keeps all its digits where a file has no
    types), moment (an instant without its zone) and date."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class ExportSet:
    """`filters` are the parameters of its query, None when each order brings its own; `needs` is the least role that may
    have its rows, masked."""

    slug: str
    name: str
    meaning: str
    query: Query | None
    columns: Sequence[Column]
    filters: Sequence[str]
    needs: Role = Role.viewer


def _columns(**kinds: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name, kind in kinds.items())


_MESSAGE = {
    "id": "code",
    "campaign_id": "code",
    "campaign": "text",
    "recipient_phone": "phone",
    "country": "code",
    "channel": "code",
    "sender": "text",
    "message_sid": "code",
    "status": "code",
    "error_code": "integer",
}
_TIMES = {
    "queued_at": "instant",
    "answered_at": "instant",
    "sent_at": "instant",
    "delivered_at": "instant",
    "read_at": "instant",
    "failed_at": "instant",
    "replied_at": "instant",
    "last_seen_at": "instant",
    "delivery_seconds": "number",
}

MESSAGES = ExportSet(
    "messages",
    "Messages",
    "Messages the provider accepted or refused in the period, with what became of them",
    SQL.export_messages,
    _columns(**_MESSAGE, cohort_at="instant", **_TIMES),
    SCOPE,
)
RECIPIENTS = ExportSet(
    "recipients",
    "Recipients of a campaign",
    "One row for each person of a campaign, also those who were denied or still wait",
    SQL.export_recipients,
    _columns(**_MESSAGE, skip_reason="code", defer_reason="code", due_at="instant", **_TIMES),
    CAMPAIGN,
)
RECEIPTS = ExportSet(
    "receipts",
    "Delivery receipts",
    "Every status callback as it came, also those that changed nothing",
    SQL.export_receipts,
    _columns(
        received_at="instant",
        message_sid="code",
        message_status="code",
        error_code="text",
        channel="code",
        recipient_phone="phone",
        sender="text",
    ),
    (*WINDOW, "channel"),
)
INBOUND = ExportSet(
    "inbound",
    "Inbound messages",
    "What people wrote, how it was understood, which message of ours it answers",
    SQL.export_inbound,
    _columns(
        id="code",
        received_at="instant",
        from_phone="phone",
        to_phone="phone",
        channel="code",
        message_sid="code",
        intent="code",
        body="text",
        is_immediate="boolean",
        is_auto_replied="boolean",
        replies_to="code",
    ),
    (*WINDOW, "channel", "intent"),
)
USERS = ExportSet(
    "users",
    "People",
    "Everybody we may know: consent, country, attributes",
    SQL.export_users,
    _columns(
        phone_e164="phone",
        consent_state="code",
        country="code",
        timezone="code",
        created_at="instant",
        updated_at="instant",
        attributes="json",
    ),
    PEOPLE,
    Role.operator,
)
CONSENT = ExportSet(
    "consent",
    "Consent ledger",
    "What was said about consent, when, by whom, with which words",
    SQL.export_consent,
    _columns(
        id="code",
        phone_e164="phone",
        occurred_at="instant",
        recorded_at="instant",
        action="code",
        source="code",
        actor="code",
        message_sid="code",
        evidence="text",
    ),
    WINDOW,
    Role.operator,
)
AUDIT = ExportSet(
    "audit",
    "Audit trail",
    "Who did what, when; people in it are keyed hashes",
    SQL.export_audit,
    _columns(
        id="integer",
        at="instant",
        actor="code",
        action="code",
        subject="text",
        before="json",
        after="json",
        request_id="text",
    ),
    WINDOW,
    Role.operator,
)
ROLLUPS = ExportSet(
    "rollups",
    "Figures by quarter-hour",
    "Counted messages by quarter-hour, campaign, channel, country and sender",
    SQL.export_rollups,
    _columns(
        quarter_at="instant",
        campaign_id="code",
        campaign="text",
        channel="code",
        country="code",
        sender="text",
        messages="integer",
        sent="integer",
        delivered="integer",
        read="integer",
        failed="integer",
        in_flight="integer",
        canceled="integer",
        conflicts="integer",
        replied="integer",
        stopped="integer",
    ),
    SCOPE,
)

# Its rows are those of SQL that somebody has saved, run by a login of theirs: see query_results.py.
SAVED_QUERY = ExportSet(
    "query",
    "Saved query",
    "The whole result of a saved query, with the values of its parameters",
    None,
    (),
    ("query_id", "name", "version", "is_shared", "sql", "parameters"),
)

SETS = {one.slug: one for one in (MESSAGES, RECIPIENTS, RECEIPTS, INBOUND, USERS, CONSENT, AUDIT, ROLLUPS)}


def load_set(slug: str) -> ExportSet:
    """Errors: Invalid when there is no such set."""
    known = SETS | {SAVED_QUERY.slug: SAVED_QUERY}
    if slug not in known:
        raise Invalid(f"{slug!r} cannot be exported; use one of {', '.join(known)}.", "set")
    return known[slug]
