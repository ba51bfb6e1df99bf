"""Taking a person out of the audience for good. What stays is a keyed hash, so that nobody brings them back.

The pseudonym that stands in place of the number elsewhere is derived from the same hash: +999 and 12 digits, a number no
country gives out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from event_stream_engine.audience import changes
from event_stream_engine.audit.entries import hash_person
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
_TELLING_DIGITS = 9  # the last ones are the same in every notation of a number


@dataclass(frozen=True, slots=True)
class Erasure:
    pseudonym: str
    phone: str


def make_pseudonym(secret_key: str, phone: str) -> str:
    """Return what stands in place of an erased number."""
    return f"+999{int.from_bytes(hash_person(secret_key, phone)[16:], 'big') % 10**12:012d}"


async def forget_person(conn: Connection, secret_key: str, erasure: Erasure, at: datetime) -> tuple[int, int]:
    """Remove profile, words and number, and suppress it; return how many profiles and ledger entries there were."""
    await changes.prepare_connection(conn)
    phone, place = erasure.phone, {"phone": erasure.phone, "pseudonym": erasure.pseudonym}
    await SQL.suppress_person.execute(conn, {"hash": hash_person(secret_key, phone), "at": at})
    profiles = await SQL.delete_person.execute(conn, place)
    entries = await SQL.disguise_ledger.execute(conn, place)
    await SQL.delete_rejects_of.execute(conn, {"digits": phone[-_TELLING_DIGITS:].lstrip("+")})
    await SQL.step_import_back.execute(conn, place)
    await changes.publish(conn, at)
    return profiles, entries


async def disguise_evidence(conn: Connection, sids: Sequence[str], erasure: Erasure) -> None:
    """Put the pseudonym in place of the number in others' words about consent."""
    await SQL.disguise_evidence.execute(
        conn,
        {"sids": list(sids), "digits": erasure.phone[1:], "pseudonym_digits": erasure.pseudonym[1:]},
    )


async def begin_erasure(conn: Connection, erasure: Erasure, at: datetime) -> None:
    """Leave the log to the worker."""
    await SQL.begin_erasure.execute(conn, {"pseudonym": erasure.pseudonym, "phone": erasure.phone, "at": at})


async def end_erasure(conn: Connection, erasure: Erasure, at: datetime) -> None:
    await SQL.end_erasure.execute(conn, {"pseudonym": erasure.pseudonym, "at": at})


async def list_erasures(conn: Connection) -> list[Erasure]:
    """Return the erasures whose traces in the log are still to be removed."""
    return await SQL.list_erasures.many(conn, Erasure)


async def list_late_pseudonyms(conn: Connection, since: datetime) -> Sequence[str]:
    """Return the people erased since then; the erasures before are forgotten."""
    await SQL.forget_past_erasures.execute(conn, {"until": since})
    found: list[str] = await SQL.list_late_pseudonyms.value(conn, {"since": since})
    return found
