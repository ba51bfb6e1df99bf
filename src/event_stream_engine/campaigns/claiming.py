"""One claim: due messages taken through the steps, those that may go claimed, the others settled, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter_ns
from typing import Any
from uuid import UUID, uuid4

import orjson

from event_stream_engine.audit.entries import Actor, hash_person, record_columns
from event_stream_engine.campaigns import outbox, pacing
from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.campaigns.compliance import Moment, Order, Verdict, judge_message, judge_reply
from event_stream_engine.campaigns.outbox import REPLIES, Claim, Deferral, Due, Facts
from event_stream_engine.campaigns.rendering import Content
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.messaging import outcomes
from event_stream_engine.stream.log import append_own_events

ACTOR = Actor("engine:sender")
EXTRA = 20  # more messages are looked at than there are tokens: what is denied or deferred takes none
STOP_PASSES = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a claim took. `allowed` may be handed over until the second of `claimed_at` ends; `held` has the people
    whose locks the session got, once for each message."""

    claim_id: UUID
    campaign_id: UUID | None
    claimed_at: datetime
    allowed: Sequence[Verdict]
    held: Sequence[str]
    settled: int


async def load_order(conn: Connection, campaign_id: UUID) -> Order:
    """Return what a started campaign sends and how; it does not change any more."""
    campaign = await load_campaign(conn, campaign_id)
    template: dict[str, Any] = dict(campaign.template or {})
    return Order(
        campaign_id=campaign.id,
        sender=campaign.sender,
        rate_per_second=campaign.rate_per_second,
        quiet_starts=campaign.quiet_starts,
        quiet_ends=campaign.quiet_ends,
        channel=template["channel"],
        content=Content(template["body"], template["content_sid"], template["content_variables"]),
    )


async def claim_messages(
    conn: Connection,
    order: Order,
    clock: Clock,
    *,
    secret_key: str,
    provider: str,
    prohibited_words: Sequence[str],
    most: int,
) -> Batch | None:
    """Claim up to `most` messages of a campaign for the present second, or None when none may go now."""
    second = pacing.second_of(clock.now())
    taken = await pacing.open_second(conn, order.campaign_id, provider, second)
    now = clock.now()  # the lock may have been waited for
    if taken is None or pacing.second_of(now) != second:
        return None
    tokens = min(most, pacing.count_tokens(order.rate_per_second, taken, now))
    if tokens == 0:
        return None
    due = await outbox.hold_due(conn, order.campaign_id, now, tokens + EXTRA)
    moment = Moment(now, tokens, prohibited_words)
    facts, microseconds = await _load_facts(
        conn, due, secret_key, order.channel, needs_inbound=order.channel == "whatsapp"
    )
    verdicts = []
    for one, fact in zip(due, facts, strict=True):
        if moment.tokens == 0:
            break
        if one.is_held:
            verdicts.append(judge_message(order, one, fact, moment, microseconds))
    batch = await _settle(conn, order.campaign_id, due, verdicts, now)
    if batch.allowed:
        await outbox.take_tokens(conn, order.campaign_id, second, len(batch.allowed))
    return batch


async def claim_replies(conn: Connection, secret_key: str, clock: Clock, most: int) -> Batch:
    """Claim up to `most` auto-replies; they go at once."""
    now = clock.now()
    due = await outbox.hold_due(conn, REPLIES, now, most)
    facts, microseconds = await _load_facts(conn, due, secret_key, "", needs_inbound=False)
    verdicts = [
        judge_reply(one, fact, microseconds) for one, fact in zip(due, facts, strict=True) if one.is_held
    ]
    return await _settle(conn, None, due, verdicts, now)


async def _load_facts(
    conn: Connection, due: Sequence[Due], secret_key: str, channel: str, *, needs_inbound: bool
) -> tuple[list[Facts], int]:
    """Return the facts and what reading them cost for each message, in microseconds."""
    if not due:
        return [], 0
    began = perf_counter_ns()
    hashes = [hash_person(secret_key, one.recipient_phone) for one in due]
    facts = await outbox.load_facts(conn, due, hashes, channel=channel, needs_inbound=needs_inbound)
    return facts, (perf_counter_ns() - began) // 1000 // len(due)


async def _settle(
    conn: Connection, campaign_id: UUID | None, due: Sequence[Due], verdicts: Sequence[Verdict], now: datetime
) -> Batch:
    by_outcome: dict[str, list[Verdict]] = {"allowed": [], "deferred": [], "denied": []}
    for verdict in verdicts:
        by_outcome[verdict.outcome].append(verdict)
    allowed, deferred, denied = by_outcome["allowed"], by_outcome["deferred"], by_outcome["denied"]
    deferrals = [
        Deferral(one.due.message_id, one.defer_until or now, one.reason or "") for one in deferred
    ] + [
        # A STOP is just being applied: what it is will be known in a moment.
        Deferral(one.message_id, now + STOP_PASSES, "consent_changes")
        for one in due
        if not one.is_held
    ]
    claim_id = uuid4()
    if allowed or deferrals or denied:
        claims = [
            Claim(
                one.due.message_id,
                one.message.body if one.message else None,
                orjson.dumps(one.describe(campaign_id)).decode(),
            )
            for one in allowed
        ]
        await outbox.settle(
            conn,
            claim_id,
            now,
            claims=claims,
            deferrals=deferrals,
            denied=[one.due.message_id for one in denied],
        )
    if deferred or denied:
        await _audit(conn, campaign_id, [*deferred, *denied], now)
    if denied:
        await append_own_events(
            conn, [outcomes.skipped(one.due.message_id, now, one.reason or "") for one in denied]
        )
    held = [one.recipient_phone for one in due if one.is_held]
    return Batch(claim_id, campaign_id, now, allowed, held, len(deferrals) + len(denied))


async def _audit(
    conn: Connection, campaign_id: UUID | None, verdicts: Sequence[Verdict], now: datetime
) -> None:
    for verdict in verdicts:
        verdict.steps.append({"step": "audit", "outcome": "written"})
    await record_columns(
        conn,
        ACTOR,
        at=[now] * len(verdicts),
        action=[f"compliance.{verdict.outcome}" for verdict in verdicts],
        subject=[f"message:{verdict.due.message_id}" for verdict in verdicts],
        before=[None] * len(verdicts),
        after=[orjson.dumps(verdict.describe(campaign_id)).decode() for verdict in verdicts],
    )
