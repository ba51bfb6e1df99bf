"""Answers sent by themselves: rules on what people write, and the replies the projection queues for the sender.

A reply is a message without campaign. STOP and START are confirmed when they changed something, once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid, NotFound
from event_stream_engine.messaging import deliveries

SQL = load_queries(__package__)
INTENTS = ("stop", "help", "start", "order", "general")
LONGEST_BODY = 1600
LONGEST_PAUSE_MINUTES = 31 * 24 * 60
MOST_WORDS = 50


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """A rule without words answers every message of its intent; one with words a body that is one of them.

    `per_person_minutes`: one reply to a person in so many minutes; 0 means no such limit.
    """

    id: UUID
    intent: str
    words: Sequence[str]
    body: str
    per_person_minutes: int
    is_enabled: bool
    created_at: datetime


async def queue_replies(conn: Connection, now: datetime) -> int:
    """Queue the replies to the messages in `inbound_new`, and return how many.

    None to a message older than 5 minutes, and none where Twilio has answered already (`OptOutType`).
    """
    if not await SQL.stage_replies.execute(conn, {"now": now}):
        return 0
    await SQL.queue_replies.execute(conn, {"now": now})
    return await deliveries.queue_messages(conn)


async def prepare_connection(conn: Connection) -> None:
    """Make the working table of `queue_replies`; once per connection."""
    await SQL.create_reply_bodies.execute(conn)


async def list_rules(conn: Connection) -> list[ReplyRule]:
    """Return the rules in the order they are tried: those with words first."""
    return await SQL.list_reply_rules.many(conn, ReplyRule)


async def load_rule(conn: Connection, rule_id: UUID) -> ReplyRule:
    """Return one rule. Errors: NotFound."""
    rule = await SQL.find_reply_rule.maybe(conn, ReplyRule, {"id": rule_id})
    if rule is None:
        raise NotFound("There is no such reply rule.")
    return rule


async def create_rule(
    conn: Connection,
    actor: Actor,
    now: datetime,
    *,
    intent: str,
    words: Sequence[str],
    body: str,
    per_person_minutes: int,
    is_enabled: bool,
) -> ReplyRule:
    """Make a rule. Errors: Invalid."""
    rule = _check(ReplyRule(uuid4(), intent, words, body, per_person_minutes, is_enabled, now))
    await SQL.create_reply_rule.execute(conn, _as_parameters(rule))
    await record(
        conn, actor, Entry(now, "reply_rule.created", f"reply_rule:{rule.id}", after=_describe(rule))
    )
    return rule


async def change_rule(
    conn: Connection,
    actor: Actor,
    now: datetime,
    rule_id: UUID,
    *,
    intent: str,
    words: Sequence[str],
    body: str,
    per_person_minutes: int,
    is_enabled: bool,
) -> ReplyRule:
    """Put a rule's new content in place of the old. Errors: Invalid, NotFound."""
    before = await load_rule(conn, rule_id)
    rule = _check(ReplyRule(rule_id, intent, words, body, per_person_minutes, is_enabled, before.created_at))
    await SQL.change_reply_rule.execute(conn, _as_parameters(rule))
    await record(
        conn,
        actor,
        Entry(now, "reply_rule.changed", f"reply_rule:{rule.id}", _describe(before), _describe(rule)),
    )
    return rule


async def delete_rule(conn: Connection, actor: Actor, now: datetime, rule_id: UUID) -> None:
    """Remove a rule. Errors: NotFound."""
    before = await load_rule(conn, rule_id)
    await SQL.delete_reply_rule.execute(conn, {"id": rule_id})
    await record(
        conn, actor, Entry(now, "reply_rule.deleted", f"reply_rule:{rule_id}", before=_describe(before))
    )


def _check(rule: ReplyRule) -> ReplyRule:
    """Return the rule with its words folded as inbound bodies are. Errors: Invalid naming the field."""
    if rule.intent not in INTENTS:
        raise Invalid(f"{rule.intent!r} is no intent; use one of {', '.join(INTENTS)}.", "intent")
    body = rule.body.strip()
    if not 1 <= len(body) <= LONGEST_BODY:
        raise Invalid(f"A reply of 1 to {LONGEST_BODY} characters is needed.", "body")
    if not 0 <= rule.per_person_minutes <= LONGEST_PAUSE_MINUTES:
        raise Invalid(f"Use 0 to {LONGEST_PAUSE_MINUTES} minutes.", "per_person_minutes")
    words = tuple(dict.fromkeys(re.sub(r"\s+", " ", word).strip().lower() for word in rule.words))
    if len(words) > MOST_WORDS or not all(1 <= len(word) <= 100 for word in words):
        raise Invalid(f"Use at most {MOST_WORDS} words of 1 to 100 characters.", "words")
    return ReplyRule(
        rule.id, rule.intent, words, body, rule.per_person_minutes, rule.is_enabled, rule.created_at
    )


def _as_parameters(rule: ReplyRule) -> dict[str, Any]:
    return _describe(rule) | {"id": rule.id, "created_at": rule.created_at}


def _describe(rule: ReplyRule) -> dict[str, Any]:
    return {
        "intent": rule.intent,
        "words": list(rule.words),
        "body": rule.body,
        "per_person_minutes": rule.per_person_minutes,
        "is_enabled": rule.is_enabled,
    }
