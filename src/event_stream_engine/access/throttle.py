"""Slows the guessing of passwords, for each e-mail and each address, over all web processes. Nobody is locked out for ever.

An address gets its tries back slower than an e-mail does, so that one address alone cannot keep an operator out.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Throttled

_SQL = load_queries("event_stream_engine.access")


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries at once, then one more after each refill."""

    burst: int
    refill: timedelta


PER_EMAIL = Limit(burst=10, refill=timedelta(seconds=20))
PER_ADDRESS = Limit(burst=20, refill=timedelta(seconds=60))


async def take_attempt(conn: Connection, email: str, address: str, now: datetime) -> None:
    """Count a try before the password is looked at. Errors: Throttled.

    Commit it whatever follows. The address comes first: one that has no tries left uses up no e-mail's.
    """
    await _take(conn, _address_subject(address), PER_ADDRESS, now)
    await _take(conn, _email_subject(email), PER_EMAIL, now)


async def forgive_attempts(conn: Connection, email: str, address: str) -> None:
    """Take back what the tries of a successful sign-in used up."""
    given_back = {"subject": _address_subject(address), "refill": PER_ADDRESS.refill}
    await _SQL.return_attempt.execute(conn, given_back)
    await _SQL.forget_attempts.execute(conn, {"subject": _email_subject(email)})


async def delete_past_attempts(conn: Connection, now: datetime) -> int:
    """Delete the counts that ran out and return how many; for upkeep."""
    return await _SQL.delete_past_attempts.execute(conn, {"now": now})


async def _take(conn: Connection, subject: bytes, limit: Limit, now: datetime) -> None:
    tolerance = (limit.burst - 1) * limit.refill
    values = {"subject": subject, "now": now, "refill": limit.refill, "tolerance": tolerance}
    if not await _SQL.take_attempt.execute(conn, values):
        wait_seconds = int(limit.refill.total_seconds())
        raise Throttled(f"Too many attempts to sign in. Try again in {wait_seconds} seconds.", wait_seconds)


def _email_subject(email: str) -> bytes:
    # Hashed, because people type passwords into this field.
    return hashlib.sha256(f"email:{email.strip().lower()}".encode(errors="replace")).digest()


def _address_subject(address: str) -> bytes:
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket has none
        return hashlib.sha256(f"address:{address}".encode()).digest()
    if isinstance(parsed, IPv6Address):
        # One customer owns a whole /64.
        place = str(parsed.ipv4_mapped or IPv6Network((parsed, 64), strict=False).network_address)
    else:
        place = str(parsed)
    return hashlib.sha256(f"address:{place}".encode()).digest()
