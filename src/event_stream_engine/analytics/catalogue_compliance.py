"""Figures of compliance: what was handed over, judged anew from raw rows."""

from event_stream_engine.analytics.metric import Answer, Metric, Note, Subject

_COMPLIANCE = "/api/v1/compliance"
_METRICS = "compliance_metrics"
_SECTION = "Compliance Monitoring"
_ROLLUPS = ("compliance_rollups",)
_WINDOW = "hand-overs of the window; a second belongs to the window in which it begins"
_FRESHNESS = "checked about once a second"
_DENOMINATOR = "calls to the provider’s API"


def _count(
    slug: str, name: str, unit: str, formula: str, *paths: str, section: str = _SECTION, note: str = ""
) -> Metric:
    answers = tuple(Answer(_COMPLIANCE, path) for path in paths)
    return Metric(
        slug,
        name,
        unit,
        formula,
        answers,
        _ROLLUPS,
        section,
        note=note,
        window=_WINDOW,
        freshness=_FRESHNESS,
    )


def _rate(
    slug: str,
    name: str,
    formula: str,
    path: str,
    *,
    unit: str = "%",
    numerator: str,
    denominator: str = _DENOMINATOR,
    note: str = "",
) -> Metric:
    return Metric(
        slug,
        name,
        unit,
        formula,
        (Answer(_COMPLIANCE, f"{_METRICS}.{path}"),),
        _ROLLUPS,
        _SECTION,
        numerator,
        denominator,
        note,
        _WINDOW,
        _FRESHNESS,
    )


COMPLIANCE = Subject(
    "compliance",
    "Compliance",
    "Can we prove it? A check after the fact judges each hand-over anew from raw rows, and believes nothing that the sender "
    "noted of itself.",
    notes=(
        Note(
            "Hand-over",
            "One call to the provider’s API. A message that is tried again is handed over again. Figures are those of "
            "campaigns; auto-replies are counted beside, under `auto_replies`.",
        ),
        Note("How far the check is", "`oldest_unchecked_at` is the oldest hand-over that is not judged yet."),
        Note("Rows behind", "`GET /api/v1/compliance/violations` lists each thing found, with its evidence."),
    ),
    metrics=(
        _count(
            "hand_overs",
            "Handed over",
            "hand-overs",
            "calls to the provider’s API; another try of a message is another one",
            f"{_METRICS}.consent_verification.total_messages_sent",
            "auto_replies.handed_over",
        ),
        _count(
            "consent_verified",
            "With consent",
            "hand-overs",
            "hand-overs at whose moment the consent ledger says OPT_IN",
            f"{_METRICS}.consent_verification.consent_verified_count",
        ),
        _count(
            "consent_missing",
            "Without consent",
            "hand-overs",
            "hand-overs at whose moment the consent ledger says something else than OPT_IN, or nothing",
            f"{_METRICS}.consent_verification.consent_missing_count",
            section="",
        ),
        _rate(
            "consent_compliance",
            "Share with consent",
            "hand-overs with consent / all hand-overs",
            "consent_verification.compliance_rate",
            numerator="hand-overs at whose moment the consent ledger says OPT_IN",
            note="A STOP from before a hand-over that is learned of later counts against us.",
        ),
        _count(
            "quiet_hours_violations",
            "Inside quiet hours",
            "hand-overs",
            "hand-overs when it was quiet in any zone the recipient may be in, by the clock on the wall",
            f"{_METRICS}.quiet_hours_compliance.messages_during_quiet_hours",
        ),
        _count(
            "zone_unknown",
            "Zone not known",
            "hand-overs",
            "hand-overs to somebody of whom no zone is known, so that nothing can be proven",
            f"{_METRICS}.quiet_hours_compliance.messages_in_unknown_time_zones",
            section="",
        ),
        _count(
            "rescheduled",
            "Put off by quiet hours",
            "messages",
            "messages that waited because of quiet hours, each once, by the moment they were first put off",
            f"{_METRICS}.quiet_hours_compliance.messages_rescheduled",
        ),
        _rate(
            "quiet_hours_compliance",
            "Share outside quiet hours",
            "hand-overs outside quiet hours / all hand-overs",
            "quiet_hours_compliance.compliance_rate",
            numerator="hand-overs outside the quiet hours of the campaign and of the place, in every zone the recipient may be in",
        ),
        _count(
            "rate_limit_violations",
            "Seconds above the limit",
            "seconds",
            "seconds in which a campaign handed over more than its limit",
            f"{_METRICS}.rate_limit_adherence.rate_limit_violations",
        ),
        _count(
            "seconds_sending",
            "Seconds of sending",
            "seconds",
            "seconds in which anything was handed over, each campaign’s seconds for themselves",
            f"{_METRICS}.rate_limit_adherence.seconds_sending",
            section="",
        ),
        _rate(
            "average_send_rate",
            "Average pace",
            "handed over / seconds of sending",
            "rate_limit_adherence.average_send_rate",
            unit="messages/s",
            numerator=_DENOMINATOR,
            denominator="seconds in which anything was handed over, each campaign’s seconds for themselves",
        ),
        _count(
            "peak_send_rate",
            "Peak pace",
            "messages/s",
            "the most that one campaign handed over in one second",
            f"{_METRICS}.rate_limit_adherence.peak_send_rate",
        ),
        _count(
            "pace_status",
            "Status of pace",
            "text",
            "`excellent` with no second above its campaign’s limit, `good` with fewer than 0.1 % of the seconds, else `poor`",
            f"{_METRICS}.rate_limit_adherence.compliance_status",
        ),
        _count(
            "events_logged",
            "Entries logged",
            "entries",
            "decisions and outcome events found of these hand-overs",
            f"{_METRICS}.audit_trail_completeness.events_logged",
            "auto_replies.events_logged",
        ),
        _count(
            "audit_entries_missing",
            "Entries missing",
            "entries",
            "decisions and outcome events that should be there and are not",
            f"{_METRICS}.audit_trail_completeness.missing_audit_entries",
            "auto_replies.missing_audit_entries",
        ),
        _rate(
            "audit_coverage",
            "Audit coverage",
            "hand-overs with their whole history / all hand-overs",
            "audit_trail_completeness.audit_coverage",
            numerator="hand-overs that have their decision in the audit trail and its outcome in the log",
        ),
        _count(
            "replies_without_consent",
            "Replies to somebody who had closed",
            "hand-overs",
            "auto-replies, other than to STOP, HELP and START, to somebody who had closed",
            "auto_replies.without_consent",
            section="",
        ),
    ),
)
