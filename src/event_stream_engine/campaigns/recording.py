"""What came of handing messages over, written for many at once: outbox, log, audit, consent, in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import orjson

from event_stream_engine.audit.entries import record_columns
from event_stream_engine.campaigns import outbox
from event_stream_engine.campaigns.claiming import ACTOR
from event_stream_engine.campaigns.compliance import Verdict
from event_stream_engine.campaigns.outbox import Finish
from event_stream_engine.infra.database import Connection
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.messaging import outcomes
from event_stream_engine.messaging.provider import Accepted, Outcome, Postponed, Refused, Unknown
from event_stream_engine.stream.log import Event, append_own_events

MOST_ATTEMPTS = 6
FIRST_BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=10)
OPTED_OUT = 21610


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of one call. `handed_at`: when it began, in the second it was counted in; `at`: when it ended.

    Without `outcome` the call never began, because its second was over before it got its turn.
    """

    claim_id: UUID
    campaign_id: UUID | None
    verdict: Verdict
    outcome: Outcome | None
    handed_at: datetime
    at: datetime
    microseconds: int


async def record_answers(conn: Connection, answers: Sequence[Answer], now: datetime, chance: Random) -> int:
    """Write the ends of calls and return how many of their claims were still there to be ended.

    An outcome that came after its lease is still an outcome and goes into the log; the trail has each claim once.
    """
    concluded = [(answer, *_conclude(answer, now, chance)) for answer in answers]
    ended = await outbox.finish(conn, [finish for _, finish, _ in concluded])
    events = [
        event
        for _, finish, event in concluded
        if event is not None and (finish.unsure_since is None or finish.message_id in ended)
    ]
    if events:
        await append_own_events(conn, events)
    # What nobody knows yet is written by whoever finds it out.
    written = [
        (answer, finish.decision)
        for answer, finish, _ in concluded
        if finish.message_id in ended and finish.unsure_since is None and answer.outcome is not None
    ]
    if written:
        await record_columns(
            conn,
            ACTOR,
            at=[answer.at for answer, _ in written],
            action=["compliance.allowed"] * len(written),
            subject=[f"message:{answer.verdict.due.message_id}" for answer, _ in written],
            before=[None] * len(written),
            after=[decision for _, decision in written],
        )
    return len(ended)


def find_opted_out(answers: Sequence[Answer]) -> list[Answer]:
    """Return the refusals because the person has opted out with the provider."""
    return [
        answer
        for answer in answers
        if isinstance(answer.outcome, Refused) and answer.outcome.code == OPTED_OUT
    ]


def count_backoff(attempts: int, chance: Random) -> timedelta:
    """Return how long to wait after so many attempts: doubled each time, and never the same for two messages."""
    longest: timedelta = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** (attempts - 1))
    return longest * chance.uniform(0.5, 1.0)


def _conclude(answer: Answer, now: datetime, chance: Random) -> tuple[Finish, Event | None]:
    message_id, outcome = answer.verdict.due.message_id, answer.outcome
    attempts = answer.verdict.due.attempts + 1

    def finish(word: str, **detail: Any) -> str:
        return _finish_decision(answer, word, now, detail)

    match outcome:
        case None:
            return Finish(message_id, answer.claim_id, "{}", due_at=now, is_attempt=False), None
        case Accepted(sid, status):
            decision = finish("accepted", sid=sid, status=status)
            return Finish(message_id, answer.claim_id, decision), outcomes.accepted(
                message_id, answer.at, sid, status
            )
        case Refused(code, _):
            decision = finish("refused", code=code)
            return Finish(message_id, answer.claim_id, decision), outcomes.refused(
                message_id, answer.at, code
            )
        case Postponed(code, _, pause_seconds) if pause_seconds is None and attempts >= MOST_ATTEMPTS:
            decision = finish("refused", code=code, attempts=attempts)
            return Finish(message_id, answer.claim_id, decision), outcomes.refused(
                message_id, answer.at, code
            )
        case Postponed(code, _, pause_seconds):
            wait = (
                count_backoff(attempts, chance)
                if pause_seconds is None
                else timedelta(seconds=pause_seconds * chance.uniform(1.0, 1.2))
            )
            return Finish(
                message_id,
                answer.claim_id,
                finish("postponed", code=code, attempts=attempts),
                due_at=now + wait,
                reason="provider",
                is_attempt=pause_seconds is None,
            ), outcomes.postponed(message_id, answer.at, code)
        case Unknown():
            decision = finish("unknown")
            return Finish(message_id, answer.claim_id, decision, unsure_since=answer.at), outcomes.unsure(
                message_id, answer.at
            )


def _finish_decision(answer: Answer, word: str, now: datetime, detail: dict[str, Any]) -> str:
    decision = answer.verdict.describe(answer.campaign_id)
    delivery = {
        "step": "delivery",
        "outcome": word,
        "microseconds": answer.microseconds,
        "handed_at": format_instant(answer.handed_at),
    }
    delivery |= detail
    decision["steps"] = [*decision["steps"], delivery]
    if not isinstance(answer.outcome, Unknown):
        waited = round((now - answer.at).total_seconds() * 1_000_000)
        decision["steps"].append({"step": "audit", "outcome": "written", "microseconds": waited})
    return orjson.dumps(decision).decode()
