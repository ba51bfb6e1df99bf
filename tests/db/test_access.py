"""The access slice on a real database."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from event_stream_engine.access import credentials, sessions, throttle
from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound, Throttled

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PASSWORD = "correct horse battery"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    conn = await connect(database_url, "test")
    yield conn
    await conn.close()


async def add_ana(conn: Connection, role: Role = Role.operator) -> UUID:
    return await credentials.add_operator(
        conn, "Ana@Example.com", name="Ana", password=PASSWORD, role=role, now=NOW
    )


async def value(conn: Connection, sql: Any) -> Any:
    row = await (await conn.execute(sql)).fetchone()
    assert row is not None
    return row[0]


async def test_every_query_fits_the_schema(conn: Connection) -> None:
    """Planning alone finds a wrong table, column or type."""
    for query in load_queries("event_stream_engine.access").by_name.values():
        await conn.execute(b"PREPARE checked AS " + as_numbered(query.sql))
        await conn.execute("DEALLOCATE checked")


def as_numbered(sql: str) -> bytes:
    import re

    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"%\((\w+)\)s", number, sql).encode()


# -- operators


async def test_an_operator_is_found_by_email_in_any_case(conn: Connection) -> None:
    operator_id = await add_ana(conn)
    found = await credentials.find_operator(conn, " ANA@example.com")
    assert found is not None
    assert found.principal == Principal("operator", operator_id, "Ana", Role.operator)
    assert await credentials.verify_password(found.password_hash, PASSWORD)


async def test_the_password_itself_is_not_stored(conn: Connection) -> None:
    await add_ana(conn)
    assert PASSWORD not in await value(conn, "SELECT operators::text FROM operators")


async def test_a_taken_email_is_a_conflict_and_leaves_the_transaction_usable(conn: Connection) -> None:
    async with transaction(conn):
        await add_ana(conn)
        with pytest.raises(Conflict, match=r"ana@example\.com"):
            await add_ana(conn)
        assert await value(conn, "SELECT count(*) FROM operators") == 1


async def test_an_operator_without_a_name_is_refused_by_field(conn: Connection) -> None:
    with pytest.raises(Invalid) as refused:
        await credentials.add_operator(
            conn, "a@b.example", name=" ", password=PASSWORD, role=Role.viewer, now=NOW
        )
    assert refused.value.field == "name"


@pytest.mark.parametrize("email", ["nobody@example.com", "no e-mail", "a\x00@b", ""])
async def test_an_unknown_email_finds_nobody(conn: Connection, email: str) -> None:
    assert await credentials.find_operator(conn, email) is None


async def test_a_disabled_operator_finds_the_door_closed(conn: Connection) -> None:
    token = await sessions.open_session(conn, await add_ana(conn), NOW)
    await credentials.disable_operator(conn, "ANA@example.com", NOW)
    assert await credentials.find_operator(conn, "ana@example.com") is None
    assert await sessions.find_principal_by_session(conn, token, NOW) is None
    with pytest.raises(NotFound, match=r"ana@example\.com"):
        await credentials.disable_operator(conn, "ana@example.com", NOW)
    await credentials.enable_operator(conn, "ana@example.com", NOW)
    assert await credentials.find_operator(conn, "ana@example.com") is not None
    assert await sessions.find_principal_by_session(conn, token, NOW) is None
    actions = await conn.execute(
        "SELECT action FROM audit_log WHERE action LIKE 'operator.%abled' ORDER BY id"
    )
    assert await actions.fetchall() == [("operator.disabled",), ("operator.enabled",)]


# -- API keys


async def test_a_key_is_known_by_its_hash_alone(conn: Connection) -> None:
    new = await credentials.add_api_key(conn, "grafana", Role.viewer, NOW)
    assert await credentials.find_principal_by_key(conn, new.key, NOW) == Principal(
        "api_key", new.id, "grafana", Role.viewer
    )
    stored = await value(conn, "SELECT api_keys::text FROM api_keys")
    prefix, secret = new.key[:12], new.key[13:]
    assert len(secret) == 43
    assert prefix in stored
    assert secret not in stored


async def test_a_changed_key_is_unknown(conn: Connection) -> None:
    key = (await credentials.add_api_key(conn, "grafana", Role.viewer, NOW)).key
    other_end = "A" if key[-1] != "A" else "B"
    for wrong in (key[:-1] + other_end, key + "A", key[:-1], key.upper(), "", "ese_", "\x00", "ese_ü"):
        assert await credentials.find_principal_by_key(conn, wrong, NOW) is None


async def test_a_revoked_key_is_unknown_and_its_name_free_again(conn: Connection) -> None:
    old = await credentials.add_api_key(conn, "grafana", Role.viewer, NOW)
    with pytest.raises(Conflict, match="grafana"):
        await credentials.add_api_key(conn, "grafana", Role.admin, NOW)
    await credentials.revoke_api_key(conn, "grafana", NOW)
    assert await credentials.find_principal_by_key(conn, old.key, NOW) is None
    with pytest.raises(NotFound, match="grafana"):
        await credentials.revoke_api_key(conn, "grafana", NOW)
    new = await credentials.add_api_key(conn, "grafana", Role.viewer, NOW)
    assert await credentials.find_principal_by_key(conn, new.key, NOW) is not None
    assert await credentials.find_principal_by_key(conn, old.key, NOW) is None


async def test_the_use_of_a_key_is_written_at_most_once_a_minute(conn: Connection) -> None:
    key = (await credentials.add_api_key(conn, "grafana", Role.viewer, NOW)).key
    written = []
    for at_second in (0, 1, 59, 60, 61, 119, 120):
        await credentials.find_principal_by_key(conn, key, NOW + at_second * SECOND)
        written.append((await value(conn, "SELECT last_used_at FROM api_keys") - NOW) // SECOND)
    assert written == [0, 0, 0, 60, 60, 60, 120]


async def test_who_gets_in_is_in_the_audit_trail(conn: Connection) -> None:
    operator_id = await add_ana(conn, Role.admin)
    new = await credentials.add_api_key(conn, " grafana ", Role.viewer, NOW)
    await credentials.revoke_api_key(conn, "grafana", NOW)
    found = await conn.execute("SELECT actor, action, subject, after FROM audit_log ORDER BY id")
    assert await found.fetchall() == [
        ("engine:cli", "operator.added", f"operator:{operator_id}", {"role": "admin"}),
        ("engine:cli", "key.added", f"key:{new.id}", {"name": "grafana", "role": "viewer"}),
        ("engine:cli", "key.revoked", f"key:{new.id}", None),
    ]
    assert "ana" not in await value(
        conn, "SELECT string_agg(audit_log::text, '') FROM audit_log WHERE action LIKE 'op%'"
    )


# -- sessions


async def test_a_session_ends_after_twelve_idle_hours(conn: Connection) -> None:
    token = await sessions.open_session(conn, await add_ana(conn), NOW)
    end = NOW + timedelta(hours=12)
    assert await sessions.find_principal_by_session(conn, token, end) is None
    assert await sessions.find_principal_by_session(conn, token, end - SECOND) is not None
    assert await sessions.find_principal_by_session(conn, token, end) is not None  # it was used a second ago


async def test_a_session_in_use_ends_after_seven_days(conn: Connection) -> None:
    token = await sessions.open_session(conn, await add_ana(conn), NOW)
    for hours in range(0, 7 * 24, 11):
        assert await sessions.find_principal_by_session(conn, token, NOW + timedelta(hours=hours)) is not None
    end = NOW + timedelta(days=7)
    assert await sessions.find_principal_by_session(conn, token, end - SECOND) is not None
    assert await sessions.find_principal_by_session(conn, token, end) is None


async def test_the_use_of_a_session_is_written_at_most_once_a_minute(conn: Connection) -> None:
    token = await sessions.open_session(conn, await add_ana(conn), NOW)
    written = []
    for at_second in (1, 59, 60, 61, 120):
        await sessions.find_principal_by_session(conn, token, NOW + at_second * SECOND)
        written.append((await value(conn, "SELECT last_used_at FROM sessions") - NOW) // SECOND)
    assert written == [0, 0, 60, 60, 120]


async def test_a_change_of_role_holds_in_an_open_session(conn: Connection) -> None:
    token = await sessions.open_session(conn, await add_ana(conn, Role.admin), NOW)
    await conn.execute("UPDATE operators SET role = 'viewer'")
    found = await sessions.find_principal_by_session(conn, token, NOW)
    assert found is not None
    assert found.role is Role.viewer


async def test_closing_ends_one_session_and_no_other(conn: Connection) -> None:
    operator_id = await add_ana(conn)
    laptop, phone = [await sessions.open_session(conn, operator_id, NOW) for _ in range(2)]
    await sessions.close_session(conn, laptop, NOW)
    assert await sessions.find_principal_by_session(conn, laptop, NOW) is None
    assert await sessions.find_principal_by_session(conn, phone, NOW) is not None


async def test_the_token_of_a_session_is_not_stored(conn: Connection) -> None:
    token = await sessions.open_session(conn, await add_ana(conn), NOW)
    stored = bytes(await value(conn, "SELECT token_hash FROM sessions"))
    assert stored != token.encode()
    assert len(stored) == 32


async def test_upkeep_deletes_only_sessions_that_ran_out(conn: Connection) -> None:
    operator_id = await add_ana(conn)
    await sessions.open_session(conn, operator_id, NOW)
    young = await sessions.open_session(conn, operator_id, NOW + SECOND)
    end = NOW + timedelta(hours=12)
    assert await sessions.delete_expired_sessions(conn, end) == 1
    assert await sessions.find_principal_by_session(conn, young, end) is not None


def test_a_csrf_token_belongs_to_its_session_and_engine() -> None:
    token = sessions.derive_csrf_token("key of this engine", "session")
    assert sessions.is_csrf_token("key of this engine", "session", token)
    assert not sessions.is_csrf_token("key of this engine", "other session", token)
    assert not sessions.is_csrf_token("key of another engine", "session", token)
    assert not sessions.is_csrf_token("key of this engine", "session", "")
    assert not sessions.is_csrf_token("key of this engine", "session", "ü\ud800")


# -- throttle


@dataclass
class Guesser:
    conn: Connection

    async def count_tries(
        self, most: int, at: datetime, email: str | None = None, address: str | None = None
    ) -> int:
        """Try until refused; without a fixed e-mail or address each try has another one."""
        for number in range(most):
            try:
                await throttle.take_attempt(
                    self.conn, email or f"{number}@example.com", address or f"10.0.0.{number}", at
                )
            except Throttled:
                return number
        return most


async def test_an_email_is_throttled_over_all_addresses(conn: Connection) -> None:
    guesser = Guesser(conn)
    assert await guesser.count_tries(50, NOW, email="ana@example.com") == throttle.PER_EMAIL.burst
    assert await guesser.count_tries(1, NOW, email="ben@example.com", address="10.0.1.1") == 1


async def test_an_address_is_throttled_over_all_emails(conn: Connection) -> None:
    guesser = Guesser(conn)
    assert await guesser.count_tries(50, NOW, address="192.0.2.1") == throttle.PER_ADDRESS.burst
    assert await guesser.count_tries(1, NOW, email="50@example.com", address="192.0.2.2") == 1


@pytest.mark.parametrize(
    ("limit", "subject"),
    [
        (throttle.PER_EMAIL, {"email": "ana@example.com"}),
        (throttle.PER_ADDRESS, {"address": "192.0.2.1"}),
    ],
)
async def test_tries_come_back_one_by_one_and_all_of_them(
    conn: Connection, limit: throttle.Limit, subject: dict[str, str]
) -> None:
    guesser = Guesser(conn)
    await guesser.count_tries(50, NOW, **subject)
    at = NOW + limit.refill - SECOND
    assert await guesser.count_tries(5, at, **subject) == 0
    at = NOW + limit.refill
    assert await guesser.count_tries(5, at, **subject) == 1
    at += 3 * limit.refill
    assert await guesser.count_tries(5, at, **subject) == 3
    at += 100 * limit.refill
    assert await guesser.count_tries(50, at, **subject) == limit.burst


async def test_who_waits_as_long_as_told_is_taken_again(conn: Connection) -> None:
    await Guesser(conn).count_tries(50, NOW, email="ana@example.com")
    with pytest.raises(Throttled) as refused:
        await throttle.take_attempt(conn, "ana@example.com", "10.1.0.1", NOW)
    later = NOW + refused.value.retry_after_seconds * SECOND
    await throttle.take_attempt(conn, "ana@example.com", "10.1.0.1", later)


async def test_a_throttled_address_uses_up_no_tries_of_an_email(conn: Connection) -> None:
    guesser = Guesser(conn)
    await guesser.count_tries(50, NOW, address="192.0.2.1")
    assert await guesser.count_tries(50, NOW, email="ana@example.com", address="192.0.2.1") == 0
    assert await guesser.count_tries(50, NOW, email="ana@example.com") == throttle.PER_EMAIL.burst


async def test_a_success_forgives_the_email_and_its_own_try_of_the_address(conn: Connection) -> None:
    guesser = Guesser(conn)
    address = "192.0.2.1"
    for _ in range(3 * throttle.PER_ADDRESS.burst):
        await throttle.take_attempt(conn, "ana@example.com", address, NOW)
        await throttle.forgive_attempts(conn, "ana@example.com", address)
    assert await guesser.count_tries(50, NOW, address=address) == throttle.PER_ADDRESS.burst


async def test_the_last_try_is_taken_once_by_processes_at_the_same_time(database_url: str) -> None:
    conns = [await connect(database_url, "test") for _ in range(8)]
    outcomes = await asyncio.gather(
        *(
            throttle.take_attempt(conn, "ana@example.com", f"10.0.{number}.{turn}", NOW)
            for number, conn in enumerate(conns)
            for turn in range(4)
        ),
        return_exceptions=True,
    )
    for conn in conns:
        await conn.close()
    assert outcomes.count(None) == throttle.PER_EMAIL.burst
    assert all(isinstance(outcome, Throttled) for outcome in outcomes if outcome is not None)


async def test_upkeep_deletes_only_counts_that_ran_out(conn: Connection) -> None:
    await throttle.take_attempt(conn, "ana@example.com", "192.0.2.1", NOW)
    assert await throttle.delete_past_attempts(conn, NOW + throttle.PER_EMAIL.refill - SECOND) == 0
    assert await throttle.delete_past_attempts(conn, NOW + throttle.PER_EMAIL.refill) == 1
    assert await throttle.delete_past_attempts(conn, NOW + throttle.PER_ADDRESS.refill) == 1


async def test_upkeep_does_not_wait_for_a_sign_in_under_way(conn: Connection, database_url: str) -> None:
    await throttle.take_attempt(conn, "ana@example.com", "192.0.2.1", NOW)
    other = await connect(database_url, "test", statement_timeout_ms=5000)
    later = NOW + timedelta(hours=1)
    async with transaction(conn):
        await throttle.forgive_attempts(conn, "ana@example.com", "192.0.2.1")
        assert await throttle.delete_past_attempts(other, later) == 0
    assert await throttle.delete_past_attempts(other, later) == 1
    await other.close()
