"""Sessions of signed-in operators. The browser holds a random token, the database its hash."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from event_stream_engine.access.credentials import TOUCH_EVERY, hash_token
from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

IDLE_LIMIT = timedelta(hours=12)
AGE_LIMIT = timedelta(days=7)

_SQL = load_queries("event_stream_engine.access")


@dataclass(frozen=True, slots=True)
class _SessionRow:
    operator_id: UUID
    name: str
    role: str
    created_at: datetime
    last_used_at: datetime


async def open_session(
    conn: Connection, operator_id: UUID, now: datetime, request_id: str | None = None
) -> str:
    """Begin a session and return its token."""
    token = secrets.token_urlsafe(32)
    values = {"token_hash": hash_token(token), "operator_id": operator_id, "now": now}
    await _SQL.open_session.execute(conn, values | {"expires_at": now + IDLE_LIMIT})
    await _record(conn, "operator.signed_in", operator_id, now, request_id)
    return token


async def find_principal_by_session(conn: Connection, token: str, now: datetime) -> Principal | None:
    """Return whose session this is, unless it ran out; being used keeps it alive until its age limit."""
    token_hash = hash_token(token)
    row = await _SQL.find_session.maybe(conn, _SessionRow, {"token_hash": token_hash, "now": now})
    if row is None:
        return None
    stale_at = now - TOUCH_EVERY
    if row.last_used_at <= stale_at:
        expires_at = min(now + IDLE_LIMIT, row.created_at + AGE_LIMIT)
        values = {"token_hash": token_hash, "now": now, "expires_at": expires_at, "stale_at": stale_at}
        await _SQL.touch_session.execute(conn, values)
    return Principal("operator", row.operator_id, row.name, Role(row.role))


async def close_session(conn: Connection, token: str, now: datetime, request_id: str | None = None) -> None:
    """End a session, if it is there."""
    operator_id = await _SQL.close_session.value(conn, {"token_hash": hash_token(token)})
    if operator_id is not None:
        await _record(conn, "operator.signed_out", operator_id, now, request_id)


async def _record(
    conn: Connection, action: str, operator_id: UUID, now: datetime, request_id: str | None
) -> None:
    name = f"operator:{operator_id}"
    await record(conn, Actor(name, request_id), Entry(now, action, name))


async def delete_expired_sessions(conn: Connection, now: datetime) -> int:
    """Delete the sessions that ran out and return how many; for upkeep."""
    return await _SQL.delete_expired_sessions.execute(conn, {"now": now})


def derive_csrf_token(secret_key: str, token: str) -> str:
    """Return what a form of this session must send along: another site can neither read nor compute it."""
    return hmac.digest(secret_key.encode(), b"csrf:" + token.encode(), "sha256").hex()


def is_csrf_token(secret_key: str, token: str, given: str) -> bool:
    return hmac.compare_digest(derive_csrf_token(secret_key, token).encode(), given.encode(errors="replace"))
