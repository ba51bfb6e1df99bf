"""Consent: an append-only ledger of what people said, and the state that follows from it.

People's own words come with the batch in the temporary table `inbound_batch`, statements about them from API, page and
provider. What was done is left in `consent_changes` and `user_changes`, from which the roll-ups are kept.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from event_stream_engine.audience import changes
from event_stream_engine.audit import entries
from event_stream_engine.audit.entries import Actor, name_person
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
CLOSING = frozenset({"stop", "opt_out"})
HOLD_OFF_STEP_SECONDS = 0.02
HOLD_OFF_STEPS = 100
MOST_HELD_OFF = 1000
_AUDITED_AS: Mapping[str, str] = {
    "OPT_IN": "consent.opted_in",
    "OPT_OUT": "consent.opted_out",
    "STOP": "consent.stopped",
}
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said about a person's consent. `action` is stop, opt_out, opt_in or prove (see `consent_step`)."""

    phone: str
    action: str
    evidence: str


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One entry of a person's ledger with the state it found and made. `actor` is None for the person's own words."""

    id: UUID
    occurred_at: datetime
    recorded_at: datetime
    action: str
    source: str
    actor: str | None
    message_sid: str | None
    evidence: str
    state_before: str
    state_after: str


@dataclass(frozen=True, slots=True)
class Transition:
    entry: UUID
    phone_e164: str
    occurred_at: datetime
    action: str
    source: str
    actor: str | None
    message_sid: str | None
    state_before: str
    state_after: str


async def prepare_connection(conn: Connection) -> None:
    """Make the connection's working tables; once per connection."""
    await changes.prepare_connection(conn)
    await entries.prepare_connection(conn)
    await SQL.create_consent_speakers.execute(conn)
    await SQL.create_consent_new.execute(conn)


async def record_words(conn: Connection, secret_key: str | None) -> None:
    """Enter the batch's STOP, START and YES into the ledger and bring the speakers' states up to date.

    Without `secret_key` it is history that is recounted: no delivery is held off and nothing is audited once more.
    """
    if not await SQL.find_speakers.execute(conn):
        return
    if secret_key is not None:
        await hold_off_deliveries(conn, await SQL.list_stopping.value(conn))
        await SQL.admit_stopping.execute(conn)
        await SQL.lock_speakers.execute(conn)
    await _note(conn, -1)
    await SQL.record_words.execute(conn)
    await SQL.derive_states.execute(conn)
    await _note(conn, 1)
    if secret_key is not None:
        await _audit(conn, secret_key, await SQL.list_transitions.many(conn, Transition), None)


async def enter_statements(
    conn: Connection,
    actor: Actor,
    secret_key: str,
    statements: Sequence[Statement],
    *,
    source: str,
    at: datetime,
) -> list[Transition]:
    """Enter statements about different people, in a transaction of their own, and return what they changed.

    `source` is api, page or provider. Each takes effect after all that is known of its person. A STOP makes a person
    who is not there; of any other statement nothing follows for somebody unknown.
    """
    await prepare_connection(conn)
    await SQL.empty_speakers.execute(conn)
    await SQL.empty_consent_new.execute(conn)
    columns = {
        "phone": [statement.phone for statement in statements],
        "action": [statement.action for statement in statements],
        "evidence": [statement.evidence for statement in statements],
    }
    await SQL.name_speakers.execute(conn, {"phone": columns["phone"]})
    closing = [statement.phone for statement in statements if statement.action in CLOSING]
    await hold_off_deliveries(conn, closing)
    await SQL.admit_people.execute(conn, {"phone": [s.phone for s in statements if s.action == "stop"]})
    await SQL.lock_speakers.execute(conn)
    await _note(conn, -1)
    await SQL.enter_statements.execute(conn, columns | {"source": source, "actor": actor.name, "at": at})
    await SQL.derive_states.execute(conn)
    await _note(conn, 1)
    transitions = await SQL.list_transitions.many(conn, Transition)
    await _audit(conn, secret_key, transitions, actor)
    await changes.publish(conn, at)
    return transitions


async def stop_refused(conn: Connection, secret_key: str, phones: Sequence[str], at: datetime) -> None:
    """Take over that the provider knows these people as opted out (its error 21610); no provider is asked again."""
    statements = [Statement(phone, "stop", "error 21610") for phone in sorted(set(phones))]
    await enter_statements(conn, Actor("engine:sender"), secret_key, statements, source="provider", at=at)


async def hold_off_deliveries(conn: Connection, phones: Sequence[str]) -> None:
    """Let no delivery to these people begin until the transaction ends, and wait for those in progress.

    Waits 2 s at the most: a call that hangs longer began before the STOP.
    """
    # The server's lock table is finite. So many at once come only from history; who may be written to goes first.
    waiting: list[str] = await SQL.choose_held_off.value(
        conn, {"phones": list(phones), "most": MOST_HELD_OFF}
    )
    for _ in range(HOLD_OFF_STEPS):
        waiting = await SQL.try_hold_off.value(conn, {"phones": waiting}) if waiting else []
        if not waiting:
            return
        await asyncio.sleep(HOLD_OFF_STEP_SECONDS)
    _logger.warning(
        "%s deliveries still wait for the provider's answer; a STOP no longer waits for them", len(waiting)
    )


async def list_history(conn: Connection, phone: str) -> list[LedgerEntry]:
    """Return a person's ledger as evidence, oldest first."""
    return await SQL.list_history.many(conn, LedgerEntry, {"phone": phone})


async def derive_all(conn: Connection) -> None:
    """Bring everybody's state up to date with the ledger."""
    await SQL.find_all_speakers.execute(conn)
    await SQL.derive_states.execute(conn)


async def note_all(conn: Connection) -> None:
    """Leave every transition and every user as a +1, from which roll-ups can be counted anew."""
    await SQL.note_all_consent.execute(conn)
    await note_users(conn)


async def note_users(conn: Connection) -> None:
    """Leave every user as a +1."""
    await SQL.note_all_users.execute(conn)


async def _note(conn: Connection, sign: int) -> None:
    await SQL.note_consent.execute(conn, {"sign": sign})
    await SQL.note_users.execute(conn, {"sign": sign})


async def _audit(
    conn: Connection, secret_key: str, transitions: Sequence[Transition], actor: Actor | None
) -> None:
    if not transitions:
        return
    people = [name_person(secret_key, transition.phone_e164) for transition in transitions]
    await SQL.stage_audit.execute(
        conn,
        {
            "at": [transition.occurred_at for transition in transitions],
            "actor": [actor.name if actor else person for person in people],
            "action": [_name_action(transition) for transition in transitions],
            "subject": people,
            "before": [_dump({"state": transition.state_before}) for transition in transitions],
            "after": [
                _dump(
                    {
                        "state": transition.state_after,
                        "entry": str(transition.entry),
                        "source": transition.source,
                        "message_sid": transition.message_sid,
                    }
                )
                for transition in transitions
            ],
            "request_id": actor.request_id if actor else None,
        },
    )
    await entries.record_staged(conn)


def _name_action(transition: Transition) -> str:
    if transition.state_before == "STOP" and transition.state_after == "OPT_IN":
        return "consent.restarted"
    return _AUDITED_AS[transition.state_after]


def _dump(value: Mapping[str, Any]) -> str:
    return orjson.dumps(value).decode()
