"""How the console words states, statuses and reasons, and which mark each has."""

import re

# state: (mark, name)
ALERT_STATES = {
    "ok": ("delivered", "ok"),
    "pending": ("warning", "pending"),
    "firing": ("failed", "firing"),
    "acknowledged": ("warning", "acknowledged"),
    "resolved": ("delivered", "resolved"),
    "no_data": ("unknown", "no data"),
}
ALERT_SEVERITIES = {
    "critical": ("failed", "critical"),
    "warning": ("warning", "warning"),
    "info": ("accent", "info"),
}
ALERT_STEPS = {
    "fired": "Fired",
    "told": "Notice",
    "held_back": "No notice",
    "no_data": "No data",
    "acknowledged": "Acknowledged",
    "action": "Action",
    "resolved": "Resolved",
}
CAMPAIGN_STATES = {
    "draft": ("unknown", "draft"),
    "scheduled": ("in-flight", "scheduled"),
    "running": ("accent", "running"),
    "paused": ("warning", "paused"),
    "completed": ("delivered", "completed"),
    "cancelled": ("failed", "cancelled"),
}
CONSENT_STATES = {
    "OPT_IN": ("delivered", "opted in"),
    "OPT_OUT": ("warning", "opted out"),
    "STOP": ("failed", "STOP"),
    "UNKNOWN": ("unknown", "unknown"),
}
INTENT_NAMES = {"stop": "STOP", "help": "HELP", "start": "START", "order": "Orders", "general": "General"}
SOURCE_NAMES = {
    "inbound": "their own words",
    "page": "the console",
    "api": "the API",
    "import": "an import",
    "provider": "the provider",
}
IMPORT_STATES = {
    "uploading": ("in-flight", "uploading"),
    "waiting": ("in-flight", "waiting for the worker"),
    "running": ("accent", "reading"),
    "completed": ("delivered", "completed"),
    "failed": ("failed", "failed"),
}
EXPORT_STATES = {
    "waiting": ("in-flight", "waiting for the worker"),
    "running": ("accent", "writing"),
    "completed": ("delivered", "completed"),
    "failed": ("failed", "failed"),
    "cancelled": ("warning", "cancelled"),
    "expired": ("unknown", "file deleted"),
}
MESSAGE_STATUSES = {
    "PENDING": ("unknown", "waiting"),
    "SKIPPED": ("warning", "denied"),
    "UNKNOWN": ("warning", "outcome not known"),
    "ACCEPTED": ("in-flight", "accepted"),
    "SCHEDULED": ("in-flight", "scheduled"),
    "QUEUED": ("in-flight", "queued"),
    "SENDING": ("in-flight", "sending"),
    "SENT": ("in-flight", "sent"),
    "DELIVERED": ("delivered", "delivered"),
    "READ": ("delivered", "read"),
    "FAILED": ("failed", "failed"),
    "UNDELIVERED": ("failed", "undelivered"),
    "CANCELED": ("failed", "canceled"),
}
VIOLATIONS = {
    "consent": ("failed", "Without consent"),
    "quiet_hours": ("failed", "In quiet hours"),
    "zone_unknown": ("warning", "Time zone not known"),
    "rate": ("failed", "Above the limit"),
    "decision_missing": ("failed", "Decision missing"),
    "event_missing": ("failed", "Event missing"),
}
STEPS = {
    "consent": "Consent",
    "quiet_hours": "Quiet hours",
    "rate_limit": "Rate limit",
    "content": "Content",
    "delivery": "Delivery",
    "audit": "Audit",
}
_STEP_MARKS = {
    "passed": "delivered",
    "accepted": "delivered",
    "written": "delivered",
    "exempt": "delivered",
    "deferred": "in-flight",
    "postponed": "in-flight",
    "denied": "warning",
    "refused": "failed",
}
INCIDENT_STATES = {
    "open": ("failed", "open"),
    "acknowledged": ("warning", "acknowledged"),
    "mitigated": ("in-flight", "mitigated"),
    "resolved": ("delivered", "resolved"),
}
INCIDENT_SEVERITIES = {
    "critical": ("failed", "critical"),
    "high": ("warning", "high"),
    "medium": ("in-flight", "medium"),
    "low": ("unknown", "low"),
}
_REASONS = {
    "consent_stop": "Said STOP",
    "consent_opt_out": "Opted out",
    "consent_unknown": "Never opted in",
    "suppressed": "Erased on request",
    "unreachable": "Cannot be reached",
    "erased": "Profile erased",
    "quiet_hours": "Quiet hours",
    "time_zone_unknown": "Time zone not known",
    "whatsapp_window_closed": "WhatsApp window closed",
    "provider": "The provider asked to wait",
    "consent_changes": "A STOP is being applied",
    "cancelled": "Campaign cancelled",
    "": "No reason noted",
}
_ACTIONS = {
    "campaign.created": "Created",
    "campaign.changed": "Changed",
    "campaign.scheduled": "Scheduled",
    "campaign.started": "Started",
    "campaign.paused": "Paused",
    "campaign.resumed": "Resumed",
    "campaign.rate_lowered": "Rate lowered",
    "campaign.completed": "Completed",
    "campaign.cancelled": "Cancelled",
}


def word_reason(reason: str | None) -> str:
    """Say a reason as a person would: `placeholder_missing:city` is `Placeholder missing: city`."""
    if reason is None:
        return ""
    if reason in _REASONS:
        return _REASONS[reason]
    name, _, detail = reason.partition(":")
    words = _REASONS.get(name, re.sub(r"_", " ", name).capitalize())
    return f"{words}: {detail.strip()}" if detail else words


def word_action(action: str) -> str:
    return _ACTIONS.get(action, action.replace(".", " ").replace("_", " ").capitalize())


def mark_step(outcome: str) -> str:
    return _STEP_MARKS.get(outcome, "unknown")
