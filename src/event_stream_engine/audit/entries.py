"""Entries of the audit trail, written in the transaction of what they tell."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something, and the request it came with. `name` is operator:<id>, key:<id> or engine:<part>."""

    name: str
    request_id: str | None = None


COMMAND_LINE = Actor("engine:cli")  # whoever may run commands has the database itself


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing done. `before` and `after` hold no number, no name and no words of a person: see `hash_person`."""

    at: datetime
    action: str
    subject: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


async def record(conn: Connection, actor: Actor, *entries: Entry) -> None:
    """Write the entries of one actor."""
    await record_columns(
        conn,
        actor,
        at=[entry.at for entry in entries],
        action=[entry.action for entry in entries],
        subject=[entry.subject for entry in entries],
        before=[_dump(entry.before) for entry in entries],
        after=[_dump(entry.after) for entry in entries],
    )


async def record_columns(
    conn: Connection,
    actor: Actor,
    *,
    at: Sequence[datetime],
    action: Sequence[str],
    subject: Sequence[str],
    before: Sequence[str | None],
    after: Sequence[str | None],
) -> None:
    """Write many entries of one actor given as columns; `before` and `after` are JSON texts."""
    await SQL.append_entries.execute(
        conn,
        {
            "actor": actor.name,
            "request_id": actor.request_id,
            "at": at,
            "action": action,
            "subject": subject,
            "before": before,
            "after": after,
        },
    )


async def prepare_connection(conn: Connection) -> None:
    """Make the working table `audit_staged`, for slices that find their entries by SQL; once per connection."""
    await SQL.create_staged.execute(conn)


async def record_staged(conn: Connection) -> None:
    """Write what lies in `audit_staged` and empty it."""
    if await SQL.append_staged.execute(conn):
        await SQL.empty_staged.execute(conn)


def hash_person(secret_key: str, phone: str) -> bytes:
    """Return the keyed hash (HMAC-SHA256) a person is known by where the number must not stand."""
    return hmac.digest(secret_key.encode(), b"person:" + phone.encode(), "sha256")


def make_hash_pads(secret_key: str) -> tuple[bytes, bytes]:
    """Return what SQL needs to compute `hash_person`: HMAC is sha256(outer ‖ sha256(inner ‖ message))."""
    key = secret_key.encode()
    key = (sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


def name_person(secret_key: str, phone: str) -> str:
    """Return the subject of entries about a person."""
    return name_hash(hash_person(secret_key, phone))


def name_hash(phone_hash: bytes) -> str:
    """Return the subject of entries about a person of whom only the hash is known."""
    return f"person:{phone_hash.hex()[:32]}"


def _dump(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(value).decode()
