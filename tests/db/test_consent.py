"""Consent: statements and words end in the state of the ledger's fold, whatever their order, and figures follow."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_stream_engine.audience import consent
from event_stream_engine.audience.consent import Statement, enter_statements
from event_stream_engine.audit.entries import Actor, name_person
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.worker.projector import open_projector, run_once
from tests.engine import LIVE

KEY = LIVE.secret_key
ME = Actor("operator:1", "request-1")
PHONE, OTHER = "+14155550100", "+14155550101"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ACTIONS = ["stop", "opt_out", "opt_in", "prove"]
WORDS = ["stop", "start", "yes"]


def step(state: str, action: str) -> str:
    """The rule, in Python."""
    match action:
        case "stop":
            return "STOP"
        case "prove":
            return "OPT_IN"
        case "opt_out":
            return "STOP" if state == "STOP" else "OPT_OUT"
        case "opt_in":
            return "OPT_IN" if state == "UNKNOWN" else state
    return "OPT_IN" if state == "STOP" else state


def fold(actions: list[str]) -> list[str]:
    states = ["UNKNOWN"]
    for action in actions:
        states.append(step(states[-1], action))
    return states


@dataclass(frozen=True, slots=True)
class Workbench:
    runner: asyncio.Runner
    conn: Connection
    projector: Connection


@pytest.fixture
def workbench(database_url: str) -> Iterator[Workbench]:
    with asyncio.Runner() as runner:
        conn = runner.run(connect(database_url, "test"))
        projector = runner.run(open_projector(database_url))
        yield Workbench(runner, conn, projector)
        runner.run(conn.close())
        runner.run(projector.close())


async def add_user(conn: Connection, phone: str = PHONE) -> None:
    await conn.execute(
        "INSERT INTO users (phone_e164, created_at, updated_at) VALUES (%s, %s, %s)", (phone, NOW, NOW)
    )


async def state(conn: Connection, action: str, at: datetime = NOW, phone: str = PHONE) -> None:
    async with transaction(conn):
        await enter_statements(
            conn, ME, KEY, [Statement(phone, action, f"said {action}")], source="api", at=at
        )


async def say(conn: Connection, word: str, at: datetime, sid: str, phone: str = PHONE) -> None:
    """A word as the projector records it."""
    async with transaction(conn):
        await consent.prepare_connection(conn)
        await conn.execute(
            "INSERT INTO inbound_batch (message_sid, from_phone, to_phone, channel, body, received_at, keyword, is_live)"
            " VALUES (%s, %s, 'x', 'sms', %s, %s, %s, true)",
            (sid, phone, word, at, word),
        )
        await consent.record_words(conn, KEY)
        await conn.execute(
            "TRUNCATE user_changes, consent_changes, inbound_batch, consent_speakers, consent_new"
        )


async def find_state(conn: Connection, phone: str = PHONE) -> tuple[str, str | None]:
    found = await conn.execute(
        "SELECT consent_state, consent_entry::text FROM users WHERE phone_e164 = %s", (phone,)
    )
    row = await found.fetchone()
    assert row is not None
    return row[0], row[1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(
        st.tuples(st.booleans(), st.integers(0, 9), st.sampled_from(ACTIONS), st.sampled_from(WORDS)),
        max_size=8,
    )
)
def test_state_and_its_entry_are_those_of_the_fold(
    workbench: Workbench, said: list[tuple[bool, int, str, str]]
) -> None:
    async def check() -> None:
        conn, projector = workbench.conn, workbench.projector
        await conn.execute("TRUNCATE users, consent_ledger")
        await add_user(conn)
        for number, (is_word, minute, action, word) in enumerate(said):
            at = NOW + timedelta(minutes=minute)
            if is_word:
                await say(projector, word, at, f"SM{number}")
            else:
                await state(conn, action, at)
        history = await consent.list_history(conn, PHONE)
        states = fold([entry.action for entry in history])
        assert [(entry.state_before, entry.state_after) for entry in history] == list(pairwise(states))
        changes = [entry for entry in history if entry.state_before != entry.state_after]
        assert await find_state(conn) == (states[-1], str(changes[-1].id) if changes else None)
        # What is stated takes effect after all that is known at that moment.
        if said and not said[-1][0]:
            assert history[-1].action == said[-1][2]

    workbench.runner.run(check())


async def test_figures_follow_statements(database_url: str) -> None:
    async with await connect(database_url, "test") as conn, await open_projector(database_url) as projector:
        await state(conn, "stop")  # makes the person
        for action in ("prove", "opt_out", "opt_in", "prove", "stop"):
            await state(conn, action)
        while await run_once(projector, LIVE):
            pass
        users = await conn.execute("SELECT consent_state, users FROM user_rollups WHERE users <> 0")
        assert await users.fetchall() == [("STOP", 1)]
        counted = await conn.execute(
            "SELECT from_state, to_state, sum(transitions)::integer FROM consent_rollups WHERE grain = 'minute' GROUP BY 1, 2"
        )
        ledger = await conn.execute(
            "SELECT state_before, state_after, count(*)::integer FROM consent_history(%s) WHERE state_before <> state_after GROUP BY 1, 2",
            ([PHONE],),
        )
        assert sorted(await counted.fetchall()) == sorted(await ledger.fetchall())


async def test_each_change_is_audited_with_its_actor_and_without_the_number(database_url: str) -> None:
    async with await connect(database_url, "test") as conn, await open_projector(database_url) as projector:
        await add_user(conn)
        await state(conn, "opt_in")
        await say(projector, "stop", NOW + timedelta(minutes=1), "SM1")
        await say(projector, "stop", NOW + timedelta(minutes=2), "SM2")  # changes nothing
        await say(projector, "start", NOW + timedelta(minutes=3), "SM3")
        await state(conn, "opt_out", NOW + timedelta(minutes=4))
        found = await conn.execute(
            "SELECT action, actor, subject, before ->> 'state', after ->> 'state', request_id FROM audit_log ORDER BY xid, id"
        )
        me = name_person(KEY, PHONE)
        assert await found.fetchall() == [
            ("consent.opted_in", "operator:1", me, "UNKNOWN", "OPT_IN", "request-1"),
            ("consent.stopped", me, me, "OPT_IN", "STOP", None),
            ("consent.restarted", me, me, "STOP", "OPT_IN", None),
            ("consent.opted_out", "operator:1", me, "OPT_IN", "OPT_OUT", "request-1"),
        ]


async def test_two_at_once_do_not_lose_each_other(database_url: str) -> None:
    async with await connect(database_url, "one") as one, await connect(database_url, "two") as two:
        await add_user(one)
        async with transaction(one):
            await enter_statements(one, ME, KEY, [Statement(PHONE, "stop", "x")], source="api", at=NOW)
            beside = asyncio.create_task(state(two, "opt_in"))
            await asyncio.sleep(0.1)
            assert not beside.done()
        await beside
        assert (await find_state(one))[0] == "STOP"
        assert [entry.action for entry in await consent.list_history(one, PHONE)] == ["stop", "opt_in"]


async def test_statements_about_somebody_unknown_make_nobody_but_a_stop(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        for action in ("opt_in", "opt_out", "prove"):
            await state(conn, action)
        assert await (await conn.execute("SELECT 1 FROM users")).fetchone() is None
        async with transaction(conn):
            await consent.stop_refused(conn, KEY, [OTHER, OTHER], NOW)
        found = await conn.execute("SELECT phone_e164, consent_state, country, created_at FROM users")
        assert await found.fetchall() == [(OTHER, "STOP", "US", NOW)]
        [entry] = await consent.list_history(conn, OTHER)
        assert (entry.source, entry.actor, entry.evidence) == ("provider", "engine:sender", "error 21610")


async def test_hold_off_gives_up_on_a_call_that_hangs(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(consent, "HOLD_OFF_STEPS", 3)
    async with await connect(database_url, "sender") as sender, await connect(database_url, "test") as conn:
        await sender.execute("SELECT pg_advisory_lock_shared(person_lock(%s))", (PHONE,))
        await state(conn, "stop")
        assert (await find_state(conn))[0] == "STOP"
        assert "no longer waits" in caplog.text
        assert PHONE not in caplog.text


async def test_hold_off_of_very_many_locks_those_first_who_wait_to_be_written_to(database_url: str) -> None:
    phones = [f"+1415{number:07d}" for number in range(3000)]
    async with await connect(database_url, "test") as conn, await connect(database_url, "sender") as sender:
        await conn.execute(
            "INSERT INTO outbox (message_id, recipient_phone, due_at) VALUES (gen_random_uuid(), %s, now())",
            (phones[-1],),
        )
        async with transaction(conn):
            await consent.hold_off_deliveries(conn, phones)
            tried = await sender.execute("SELECT pg_try_advisory_lock_shared(person_lock(%s))", (phones[-1],))
            assert await tried.fetchone() == (False,)
            held = await conn.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
            )
            assert await held.fetchone() == (consent.MOST_HELD_OFF,)
