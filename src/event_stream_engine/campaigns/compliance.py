"""The six steps before and after every message: consent, quiet hours, rate limit, content, delivery, audit.

Steps 1 to 4 are decided here for one message at a time, from facts that were read for many; delivery and audit are
added by whoever finishes the message. Each step is timed, and the first that objects decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from time import perf_counter_ns
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from event_stream_engine.campaigns.outbox import Due, Facts
from event_stream_engine.campaigns.prohibited import find_prohibited
from event_stream_engine.campaigns.quiet_hours import QuietHours, find_allowed_at, find_quiet_at
from event_stream_engine.campaigns.rendering import Content, Unsendable, render_content
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.messaging.provider import OutgoingMessage

SPREAD = timedelta(minutes=15)  # over which the messages that quiet hours held back become due
SHORTEST_VALIDITY = timedelta(seconds=10)
LONGEST_VALIDITY = timedelta(seconds=36_000)  # what the provider's queue keeps
WHATSAPP_WINDOW = timedelta(hours=24)
# A person who stopped is still told that it was heard, how to come back, and that they are back.
ALWAYS_ANSWERED = frozenset({"stop", "help", "start"})


@dataclass(frozen=True, slots=True)
class Order:
    """What a running campaign sends and how, as its start froze it."""

    campaign_id: UUID
    sender: str
    rate_per_second: int
    quiet_starts: time
    quiet_ends: time
    channel: str
    content: Content


@dataclass(slots=True)
class Moment:
    """The moment of a claim: the tokens its second has left, the words that must not go, what zones were found to be."""

    now: datetime
    tokens: int
    prohibited_words: Sequence[str]
    waking: "dict[tuple[object, ...], tuple[datetime, timedelta, list[str]]]" = field(default_factory=dict)


@dataclass(slots=True)
class Verdict:
    """`outcome`: allowed, deferred, denied."""

    due: Due
    outcome: str
    reason: str | None = None
    evidence: str | None = None
    defer_until: datetime | None = None
    message: OutgoingMessage | None = None
    steps: list[dict[str, Any]] = field(default_factory=list)

    def describe(self, campaign_id: UUID | None) -> dict[str, Any]:
        """Return the decision as the audit log has it."""
        return {
            "campaign_id": None if campaign_id is None else str(campaign_id),
            "outcome": self.outcome,
            "reason": self.reason,
            "evidence": self.evidence,
            "defer_until": None if self.defer_until is None else format_instant(self.defer_until),
            "steps": self.steps,
        }


class _Objection(Exception):
    def __init__(self, outcome: str, reason: str, until: datetime | None = None) -> None:
        super().__init__(reason)
        self.outcome = outcome
        self.reason = reason
        self.until = until


class _Steps:
    """The verdict in the making: notes each step with the time since the one before it."""

    def __init__(self, due: Due, shared_microseconds: int) -> None:
        self.verdict = Verdict(due, "allowed")
        self._shared_microseconds = shared_microseconds  # this message's part of reading the facts
        self._began = perf_counter_ns()

    def note(self, step: str, outcome: str, **detail: Any) -> None:
        now = perf_counter_ns()
        microseconds = (now - self._began) // 1000 + self._shared_microseconds
        self.verdict.steps.append({"step": step, "outcome": outcome, "microseconds": microseconds} | detail)
        self._began, self._shared_microseconds = now, 0

    def object(self, step: str, objection: _Objection) -> Verdict:
        self.note(step, objection.outcome, reason=objection.reason)
        self.verdict.outcome, self.verdict.reason = objection.outcome, objection.reason
        self.verdict.defer_until = objection.until
        return self.verdict


def judge_message(order: Order, due: Due, facts: Facts, moment: Moment, shared_microseconds: int) -> Verdict:
    """Take a campaign's message through steps 1 to 4; an allowed one takes a token, of which there must be one."""
    steps = _Steps(due, shared_microseconds)
    verdict, step = steps.verdict, "consent"
    try:
        verdict.evidence = None if facts.consent_entry is None else str(facts.consent_entry)
        _require_consent(facts)
        steps.note(step, "passed")
        step = "quiet_hours"
        validity, zones = _require_waking_hours(order, due, facts, moment)
        steps.note(step, "passed", zones=zones)
        steps.note("rate_limit", "passed", tokens=moment.tokens)
        step = "content"
        verdict.message = _make_message(order, due, facts, moment, validity)
    except _Objection as objection:
        return steps.object(step, objection)
    # Only now: a message that its content denies leaves the token to the next one.
    moment.tokens -= 1
    steps.note(step, "passed")
    return verdict


def judge_reply(due: Due, facts: Facts, shared_microseconds: int) -> Verdict:
    """Take an auto-reply through the steps: it answers the person's own words, at once and whatever the hour."""
    steps = _Steps(due, shared_microseconds)
    verdict = steps.verdict
    verdict.evidence = due.in_reply_to
    if facts.answered_intent not in ALWAYS_ANSWERED:
        if facts.is_suppressed:
            return steps.object("consent", _Objection("denied", "suppressed"))
        if facts.consent_state in ("STOP", "OPT_OUT"):
            return steps.object("consent", _Objection("denied", _reason_of(facts.consent_state)))
    steps.note("consent", "passed")
    steps.note("quiet_hours", "exempt")
    steps.note("rate_limit", "exempt")
    verdict.message = OutgoingMessage(
        message_id=due.message_id,
        channel=due.channel or "sms",
        recipient_phone=due.recipient_phone,
        sender=due.sender or "",
        body=due.body,
        content_sid=None,
        content_variables=None,
        validity_seconds=int(LONGEST_VALIDITY.total_seconds()),
    )
    steps.note("content", "passed")
    return verdict


def _require_consent(facts: Facts) -> None:
    if facts.is_suppressed:
        raise _Objection("denied", "suppressed")
    if facts.consent_state is None:
        raise _Objection("denied", "erased")
    if facts.consent_state != "OPT_IN":
        raise _Objection("denied", _reason_of(facts.consent_state))
    if facts.is_unreachable:
        raise _Objection("denied", "unreachable")


def _reason_of(consent_state: str) -> str:
    return f"consent_{consent_state.lower()}"


def _require_waking_hours(
    order: Order, due: Due, facts: Facts, moment: Moment
) -> tuple[timedelta, list[str]]:
    """Return how long the message may stay in the provider's queue, and the zones that all must allow it."""
    names = [facts.timezone] if facts.timezone else facts.zones or []
    key = (*names, facts.rule_starts, facts.rule_ends)
    found = moment.waking.get(key)  # people of a claim share a few zones
    if found is None:
        found = moment.waking[key] = _find_waking_hours(order, facts, names, moment.now)
    allowed_at, validity, zones = found
    if allowed_at > moment.now:
        # In a short window the spread must leave time to be handed over, or some would never be.
        spread = min(SPREAD, validity / 2)
        raise _Objection("deferred", "quiet_hours", allowed_at + spread * _draw_place(due.message_id))
    return validity, zones


def _find_waking_hours(
    order: Order, facts: Facts, names: list[str], now: datetime
) -> tuple[datetime, timedelta, list[str]]:
    hours = [QuietHours(order.quiet_starts, order.quiet_ends)]
    if facts.rule_starts is not None and facts.rule_ends is not None:
        hours.append(QuietHours(facts.rule_starts, facts.rule_ends))
    if all(one.is_empty for one in hours):
        return now, LONGEST_VALIDITY, []
    zones = _find_zones(names)
    if not zones:
        raise _Objection("denied", "time_zone_unknown")
    allowed_at, quiet_at = _find_window(now, zones, hours)
    if quiet_at - allowed_at < SHORTEST_VALIDITY:
        # The provider would hardly get it out in time, and what expires there is lost (30036).
        allowed_at, quiet_at = _find_window(quiet_at, zones, hours)
    return allowed_at, min(LONGEST_VALIDITY, quiet_at - allowed_at), names


def _find_window(
    now: datetime, zones: Sequence[ZoneInfo], hours: Sequence[QuietHours]
) -> tuple[datetime, datetime]:
    """Return the next moment that is allowed and the end of the time that begins with it."""
    allowed_at = find_allowed_at(now, zones, hours)
    if allowed_at is None:
        raise _Objection("denied", "always_quiet")
    return allowed_at, find_quiet_at(allowed_at, zones, hours) or allowed_at + LONGEST_VALIDITY


def _find_zones(names: list[str]) -> list[ZoneInfo]:
    zones = []
    for name in names:
        try:
            zones.append(ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return []
    return zones


def _draw_place(message_id: UUID) -> float:
    """Return a number from 0 to 1 that is always the same for a message; the end of its id is a hash."""
    return (message_id.int & 0xFFFFFFFF) / 0x1_0000_0000


def _make_message(
    order: Order, due: Due, facts: Facts, moment: Moment, validity: timedelta
) -> OutgoingMessage:
    is_free_form = order.content.content_sid is None
    if order.channel == "whatsapp" and is_free_form:
        last = facts.last_inbound_at
        if last is None or moment.now - last >= WHATSAPP_WINDOW:
            raise _Objection("denied", "whatsapp_window_closed")
    try:
        rendered = render_content(order.content, due.recipient_phone, facts.attributes or {})
    except Unsendable as error:
        raise _Objection("denied", error.reason) from None
    for text in (rendered.body, *(rendered.variables or {}).values()):
        if find_prohibited(text, moment.prohibited_words) is not None:
            raise _Objection("denied", "prohibited_word")
    return OutgoingMessage(
        message_id=due.message_id,
        channel=order.channel,
        recipient_phone=due.recipient_phone,
        sender=order.sender,
        body=rendered.body if is_free_form else None,
        content_sid=order.content.content_sid,
        content_variables=rendered.variables,
        validity_seconds=max(1, int(validity.total_seconds())),
    )
