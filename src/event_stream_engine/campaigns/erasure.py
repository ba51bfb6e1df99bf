"""Erasing a person: at once everywhere a person is looked up, in the log by the worker soon after.

Figures stay as they are, but for one user less; the audit trail never held a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from event_stream_engine.audience import consent
from event_stream_engine.audience import erasure as audience_erasure
from event_stream_engine.audience.erasure import Erasure, make_pseudonym
from event_stream_engine.audit.entries import Actor, Entry, name_person, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import NotFound
from event_stream_engine.messaging import erasure as messaging_erasure
from event_stream_engine.messaging import outcomes
from event_stream_engine.stream import erasure as log_erasure
from event_stream_engine.stream.log import append_own_events

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class _Dropped:
    message_id: UUID


async def erase_person(conn: Connection, actor: Actor, secret_key: str, phone: str, at: datetime) -> None:
    """Erase a person, whether there is a profile or only messages. Errors: NotFound when there is neither."""
    erasure = Erasure(make_pseudonym(secret_key, phone), phone)
    removed = await _forget(conn, secret_key, erasure, at)
    if not any(removed.values()):
        raise NotFound("Nothing is known of this number, so nothing was erased.")
    await audience_erasure.begin_erasure(conn, erasure, at)
    await record(conn, actor, Entry(at, "user.erased", name_person(secret_key, phone), after=removed))


async def scrub_events(conn: Connection, erasure: Erasure, day: date, keys: Sequence[UUID]) -> None:
    """Scrub events of a day and what was projected from them. The projector must be held meanwhile."""
    sids = await log_erasure.scrub_events(conn, day, keys, erasure.phone, erasure.pseudonym)
    await messaging_erasure.disguise_mentions(conn, sids, erasure.phone, erasure.pseudonym)
    await audience_erasure.disguise_evidence(conn, sids, erasure)


async def finish_erasure(conn: Connection, secret_key: str, erasure: Erasure, at: datetime) -> None:
    """Remove what was projected while the log was scrubbed. The projector must be held meanwhile."""
    await _forget(conn, secret_key, erasure, at)
    await audience_erasure.end_erasure(conn, erasure, at)


async def reopen_erasures(
    conn: Connection, secret_key: str, day: date, since: datetime, at: datetime
) -> None:
    """Find numbers that callbacks of a day have brought back about people erased since then."""
    pseudonyms = await audience_erasure.list_late_pseudonyms(conn, since)
    sids = await messaging_erasure.list_sids_to(conn, pseudonyms) if pseudonyms else []
    for phone in (
        {late.phone for late in await log_erasure.find_late_numbers(conn, day, sids)} if sids else ()
    ):
        pseudonym = make_pseudonym(secret_key, phone)
        if pseudonym in pseudonyms:  # else the provider named somebody else
            await audience_erasure.begin_erasure(conn, Erasure(pseudonym, phone), at)


async def _forget(conn: Connection, secret_key: str, erasure: Erasure, at: datetime) -> dict[str, int]:
    place = {"phone": erasure.phone, "pseudonym": erasure.pseudonym}
    await consent.hold_off_deliveries(conn, [erasure.phone])
    dropped = await SQL.drop_outbox_of.many(conn, _Dropped, place)
    await append_own_events(conn, [outcomes.skipped(row.message_id, at, "erased") for row in dropped])
    await SQL.disguise_outbox_of.execute(conn, place)
    await SQL.delete_reply_times_of.execute(conn, place)
    await SQL.step_back_before.execute(conn, place)
    profiles, entries = await audience_erasure.forget_person(conn, secret_key, erasure, at)
    messages, inbound = await messaging_erasure.disguise_person(conn, erasure.phone, erasure.pseudonym)
    return {
        "profiles": profiles,
        "ledger_entries": entries,
        "messages": messages,
        "inbound_messages": inbound,
        "outbox": len(dropped),
    }
