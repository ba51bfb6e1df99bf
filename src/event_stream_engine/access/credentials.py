"""Passwords of operators and keys of programs. Only hashes are stored."""

import asyncio
import hashlib
import re
import secrets
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.audit.entries import COMMAND_LINE, Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound

SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
TOUCH_EVERY = timedelta(minutes=1)

_SQL = load_queries("event_stream_engine.access")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,189}")
_API_KEY = re.compile(r"ese_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
_ARGON2 = PasswordHasher(time_cost=3, memory_cost=65536, parallelism=4, hash_len=32, salt_len=16)
# Each hash takes 64 MiB: two at a time, so that a storm of sign-ins costs patience and not memory.
_HASHING = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")


@dataclass(frozen=True, slots=True)
class Operator:
    principal: Principal
    password_hash: str


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key in the clear. It exists nowhere else: whoever made it must keep it."""

    id: UUID
    key: str


@dataclass(frozen=True, slots=True)
class _OperatorRow:
    id: UUID
    name: str
    role: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class _ApiKeyRow:
    id: UUID
    name: str
    role: str
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedOperator:
    """`seen_at`: the last use of a session that has not ended, None without one."""

    email: str
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedKey:
    name: str
    role: str
    key_prefix: str
    created_at: datetime
    last_used_at: datetime | None


def normalise_email(text: str) -> str:
    """Return an e-mail address as it is stored. Errors: Invalid."""
    email = text.strip().lower()
    if not (_EMAIL.fullmatch(email) and email.isprintable()):
        raise Invalid("This is no e-mail address; write it like name@example.com.", "email")
    return email


def _hash_nothing() -> str:
    """Make a well-formed hash that no password has, as dear to verify as a real one."""
    salt, digest = (
        b64encode(secrets.token_bytes(size)).decode().rstrip("=")
        for size in (_ARGON2.salt_len, _ARGON2.hash_len)
    )
    costs = f"m={_ARGON2.memory_cost},t={_ARGON2.time_cost},p={_ARGON2.parallelism}"
    return f"$argon2id$v=19${costs}${salt}${digest}"


_HASH_OF_NOBODY = _hash_nothing()


def _verify(password_hash: str, password: str) -> bool:
    try:
        return _ARGON2.verify(password_hash, password)
    except (VerificationError, UnicodeEncodeError):
        return False


async def hash_password(password: str) -> str:
    """Hash a password with argon2id in a thread. Errors: Invalid when it is too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise Invalid(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; a few words in a row are easy to keep.",
            "password",
        )
    return await asyncio.get_running_loop().run_in_executor(_HASHING, _ARGON2.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Compare a password with a hash in a thread; without one do the same work, so that the time tells nothing."""
    return await asyncio.get_running_loop().run_in_executor(
        _HASHING, _verify, password_hash or _HASH_OF_NOBODY, password
    )


async def add_operator(
    conn: Connection,
    email: str,
    *,
    name: str,
    password: str,
    role: Role,
    now: datetime,
    actor: Actor = COMMAND_LINE,
) -> UUID:
    """Add a person who may sign in. Errors: Invalid naming the field; Conflict when the e-mail is taken."""
    if role is Role.metrics:
        raise Invalid("The role metrics is for API keys; a person needs viewer, operator or admin.", "role")
    email, operator_id = normalise_email(email), uuid4()
    values = {
        "id": operator_id,
        "email": email,
        "name": _clean_name(name),
        "password_hash": await hash_password(password),
        "role": role.value,
        "now": now,
    }
    if not await _SQL.add_operator.execute(conn, values):
        raise Conflict(f"An operator with the e-mail {email} is there already.")
    after = {"role": role.value}
    await record(conn, actor, Entry(now, "operator.added", f"operator:{operator_id}", after=after))
    return operator_id


async def find_operator(conn: Connection, email: str) -> Operator | None:
    """Return the operator with this e-mail, whatever its case, unless disabled."""
    try:
        email = normalise_email(email)
    except Invalid:
        return None
    row = await _SQL.find_operator.maybe(conn, _OperatorRow, {"email": email})
    if row is None:
        return None
    return Operator(Principal("operator", row.id, row.name, Role(row.role)), row.password_hash)


async def list_operators(conn: Connection) -> list[ListedOperator]:
    """Return everybody who may sign in, then who no longer may."""
    return await _SQL.list_operators.many(conn, ListedOperator)


async def disable_operator(conn: Connection, email: str, now: datetime, actor: Actor = COMMAND_LINE) -> None:
    """Shut a person out at once; their sessions end. Errors: Invalid; NotFound."""
    email = normalise_email(email)
    operator_id = await _SQL.disable_operator.value(conn, {"email": email, "now": now})
    if operator_id is None:
        raise NotFound(f"No operator with the e-mail {email} may sign in. `ese operators list` lists them.")
    await record(conn, actor, Entry(now, "operator.disabled", f"operator:{operator_id}"))


async def enable_operator(conn: Connection, email: str, now: datetime, actor: Actor = COMMAND_LINE) -> None:
    """Let a disabled person in again, with the password they had. Errors: Invalid; NotFound."""
    email = normalise_email(email)
    operator_id = await _SQL.enable_operator.value(conn, {"email": email})
    if operator_id is None:
        raise NotFound(f"No operator with the e-mail {email} is disabled. `ese operators list` lists them.")
    await record(conn, actor, Entry(now, "operator.enabled", f"operator:{operator_id}"))


async def list_api_keys(conn: Connection) -> list[ListedKey]:
    """Return the keys in use, by name."""
    return await _SQL.list_api_keys.many(conn, ListedKey)


async def add_api_key(
    conn: Connection, name: str, role: Role, now: datetime, actor: Actor = COMMAND_LINE
) -> NewApiKey:
    """Add a key for a program. Errors: Invalid; Conflict when a key in use has this name."""
    prefix = f"ese_{secrets.token_hex(4)}"
    new = NewApiKey(uuid4(), f"{prefix}_{secrets.token_urlsafe(32)}")
    values = {
        "id": new.id,
        "name": _clean_name(name),
        "role": role.value,
        "key_prefix": prefix,
        "key_hash": hash_token(new.key),
        "now": now,
    }
    if not await _SQL.add_api_key.execute(conn, values):
        raise Conflict(f"A key named {name.strip()} is in use; take another name or revoke that one.")
    after = {"name": values["name"], "role": role.value}
    await record(conn, actor, Entry(now, "key.added", f"key:{new.id}", after=after))
    return new


async def find_principal_by_key(conn: Connection, key: str, now: datetime) -> Principal | None:
    """Return whose key this is, unless revoked; note its use at most once a minute."""
    if not _API_KEY.fullmatch(key):
        return None
    row = await _SQL.find_api_key.maybe(conn, _ApiKeyRow, {"key_hash": hash_token(key)})
    if row is None:
        return None
    stale_at = now - TOUCH_EVERY
    if row.last_used_at is None or row.last_used_at <= stale_at:
        await _SQL.touch_api_key.execute(conn, {"id": row.id, "now": now, "stale_at": stale_at})
    return Principal("api_key", row.id, row.name, Role(row.role))


async def revoke_api_key(conn: Connection, name: str, now: datetime, actor: Actor = COMMAND_LINE) -> None:
    """Shut out the key in use under this name. Errors: NotFound."""
    key_id = await _SQL.revoke_api_key.value(conn, {"name": name, "now": now})
    if key_id is None:
        raise NotFound(f"No key in use is named {name}. `ese keys list` lists them.")
    await record(conn, actor, Entry(now, "key.revoked", f"key:{key_id}"))


def hash_token(token: str) -> bytes:
    """Hash a secret of 256 random bits; nothing slower is needed, because it cannot be guessed."""
    return hashlib.sha256(token.encode()).digest()


def _clean_name(text: str) -> str:
    name = text.strip()
    if not (1 <= len(name) <= 100 and name.isprintable()):
        raise Invalid("A name has 1 to 100 printable characters.", "name")
    return name
