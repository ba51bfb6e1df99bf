"""Roll-ups of people and of what they write equal a count over the rows, whatever happened and in whichever zone."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from event_stream_engine.analytics import rollups, senders
from event_stream_engine.analytics.calendar import refresh_calendar
from event_stream_engine.analytics.consent import load_consent_changes
from event_stream_engine.analytics.demographics import load_demographics
from event_stream_engine.analytics.inbound import load_inbound
from event_stream_engine.audience.erasure import list_erasures
from event_stream_engine.audience.importing import begin_local, create_import, run_import
from event_stream_engine.audience.people import change_person, create_person, find_person
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns.erasure import erase_person
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import INBOUND, make_event
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.kernel.windows import Window
from event_stream_engine.stream.log import Event, append_events, append_own_events
from event_stream_engine.worker.eraser import finish
from event_stream_engine.worker.projector import open_projector, run_once
from event_stream_engine.worker.recount import Difference, recount, recount_attributes
from tests.engine import LIVE, project_all

KEY = LIVE.secret_key
ACTOR = Actor("operator:test")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PHONES = [f"+1415555010{number}" for number in range(6)]
TABLES = (
    "events, inbound_events, users, consent_ledger, suppressions, erasures, imports, import_chunks, import_rejects, inbound_rollups,"
    " inbound_hour_rollups, consent_rollups, signup_rollups, user_rollups, attribute_rollups, sender_sketches"
)


async def find_differences(url: str) -> list[Difference]:
    return await recount(url, repair=False, on_progress=lambda _: None, secret_key=KEY)


async def receive(conn: Connection, *messages: tuple[datetime, str, str], channel: str = "") -> None:
    events = [
        make_event(
            INBOUND, {"MessageSid": f"SM{uuid4().hex}", "From": channel + phone, "Body": body}, at, None
        )
        for at, phone, body in messages
    ]
    await append_events(conn, events, source=uuid4(), counted_at=NOON, is_live=False)


async def settle(conn: Connection, now: datetime) -> None:
    """Let days that are over be counted as the compactor would."""
    await rollups.prepare_connection(conn)
    is_left = True
    while is_left:
        async with transaction(conn):
            is_left = await rollups.settle_day(conn, now)


# ── Users: random histories ────────────────────────────────────────────────────────────────────────────────────────

attributes = st.fixed_dictionaries(
    {},
    optional={
        "city": st.sampled_from(["Berlin", " Berlin ", "Paris", "", "other", 7, None]),
        "tier": st.sampled_from(["gold", "unknown", {"a": 1.50}, 1.0]),
        "name": st.just("x"),
    },
)
phones = st.sampled_from(PHONES)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("create"), phones, attributes),
        st.tuples(st.just("change"), phones, attributes),
        st.tuples(st.just("erase"), phones, st.none()),
        st.tuples(st.just("stop"), phones, st.integers(0, 3 * 24)),
        st.tuples(st.just("import"), st.dictionaries(phones, attributes, min_size=1), st.none()),
        st.tuples(st.just("project"), st.none(), st.none()),
        st.tuples(st.just("settle"), st.none(), st.none()),
    ),
    max_size=12,
)


@dataclass(frozen=True, slots=True)
class Workbench:
    """One database for all examples, which empty its tables."""

    url: str
    runner: asyncio.Runner
    conn: Connection
    projector: Connection


@pytest.fixture
def workbench(database_url: str) -> Iterator[Workbench]:
    stack = AsyncExitStack()

    async def open_all() -> tuple[Connection, Connection]:
        return (
            await stack.enter_async_context(await connect(database_url, "test")),
            await stack.enter_async_context(await open_projector(database_url)),
        )

    with asyncio.Runner() as runner:
        yield Workbench(database_url, runner, *runner.run(open_all()))
        runner.run(stack.aclose())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=actions)
def test_any_history_of_users_is_counted_right(workbench: Workbench, actions: list[Any]) -> None:
    workbench.runner.run(check_history(workbench, actions))


async def check_history(workbench: Workbench, actions: list[Any]) -> None:
    conn = workbench.conn
    await conn.execute(f"TRUNCATE {TABLES}")
    await conn.execute("UPDATE log_cursors SET xid = '0', id = 0, events = 0")
    await conn.execute("UPDATE rollup_settings SET days_until = '-infinity'")
    for number, action in enumerate(actions):
        await act(workbench, NOON + number * timedelta(hours=5, minutes=7), *action)
    assert await find_differences(workbench.url) == []  # while some of it waits in the log
    await project_all(workbench.url)
    await settle(conn, NOON + 9 * DAY)
    rows = await (await conn.execute("SELECT attributes, created_at FROM users")).fetchall()
    found = await load_demographics(conn, Window(NOON - DAY, NOON + 3 * DAY), DAY, ZoneInfo("UTC"))
    assert found.total == len(rows)
    for name in ("city", "tier"):
        assert {value: n for value, n in found.by_attribute[name].items() if n} == Counter(
            read_value(given.get(name)) for given, _ in rows
        )
    assert found.signups == sum(NOON - DAY <= at < NOON + 3 * DAY for _, at in rows)
    by_day = {point.at.date(): point.users for point in found.points if point.users}
    assert by_day == Counter(at.date() for _, at in rows if NOON - DAY <= at < NOON + 3 * DAY)


def read_value(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else str(value)
    if isinstance(value, dict):
        text = '{"a": 1.5}'
    return text.strip() or "unknown"


async def act(workbench: Workbench, at: datetime, kind: str, one: Any, other: Any) -> None:
    conn = workbench.conn
    match kind:
        case "create":
            try:
                async with transaction(conn):
                    await create_person(conn, ACTOR, KEY, at, one, source="api", attributes=other)
            except Conflict:
                pass
        case "change" if await find_person(conn, one):
            async with transaction(conn):
                await change_person(conn, ACTOR, KEY, at, one, attributes=other)
        case "erase" if await find_person(conn, one):
            async with transaction(conn):
                await erase_person(conn, ACTOR, KEY, one, at)
            for erasure in await list_erasures(conn):  # until then the log still knows the number
                await finish(conn, KEY, erasure, SettableClock(at))
        case "stop":
            await receive(conn, (at - timedelta(hours=other), one, "STOP"))
        case "import":
            rows = [{"phone": phone, **given} for phone, given in one.items()]
            await import_people(conn, at, b"\n".join(orjson.dumps(row) for row in rows))
        case "project":
            await run_once(workbench.projector, LIVE)
        case "settle":
            await settle(conn, at)


async def import_people(conn: Connection, at: datetime, content: bytes) -> None:
    async with transaction(conn):
        new = await create_import(conn, ACTOR, at, file_name="x.ndjson", file_format="ndjson")
        begun = await begin_local(conn, new.id, len(content), at)

    async def ignore(_: object) -> None: ...

    done = await run_import(
        conn, begun, BytesIO(content), secret_key=KEY, clock=SettableClock(at), on_progress=ignore
    )
    assert done.state == "completed", done.error


# ── Attributes ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_rare_values_are_counted_as_other_and_all_sum_to_all_users(database_url: str) -> None:
    rows = [{"phone": f"+1415555{number:04d}", "city": f"c{number % 30}"} for number in range(100, 150)]
    async with await connect(database_url, "test") as conn:
        await import_people(conn, NOON, b"\n".join(orjson.dumps(row) for row in rows))
        await project_all(database_url)
        found = await load_demographics(conn, Window(NOON - DAY, NOON + DAY), DAY, ZoneInfo("UTC"))
    cities = found.by_attribute["city"]
    assert (len(cities), cities["other"], cities["unknown"]) == (22, 10, 0)
    assert sum(cities.values()) == found.total == 50
    assert found.by_attribute["tier"] == {"other": 0, "unknown": 50}


async def test_other_attributes_are_counted_also_while_changes_wait_in_the_log(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        for number, plan in enumerate(("a", "a", "b")):
            async with transaction(conn):
                given = {"city": "Berlin", "plan": plan}
                await create_person(conn, ACTOR, KEY, NOON, PHONES[number], source="api", attributes=given)
            if number == 0:
                await project_all(database_url)
        async with transaction(conn):
            assert await recount_attributes(conn, ["plan", "city"])
        async with transaction(conn):
            assert not await recount_attributes(conn, ["plan", "city"])
        assert await find_differences(database_url) == []
        await project_all(database_url)
        found = await load_demographics(conn, Window(NOON - DAY, NOON + DAY), DAY, ZoneInfo("UTC"))
        assert found.by_attribute == {
            "plan": {"a": 2, "b": 1, "other": 0, "unknown": 0},
            "city": {"Berlin": 3, "other": 0, "unknown": 0},
        }
        assert await find_differences(database_url) == []


async def test_a_value_goes_with_the_last_user_who_had_it(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        async with transaction(conn):
            given = {"city": "Little Nowhere"}
            await create_person(conn, ACTOR, KEY, NOON, PHONES[0], source="api", attributes=given)
        await project_all(database_url)
        async with transaction(conn):
            await erase_person(conn, ACTOR, KEY, PHONES[0], NOON)
        await project_all(database_url)
        assert await (await conn.execute("SELECT * FROM attribute_rollups")).fetchall() == []


async def test_an_event_of_an_older_version_counts_states_alone(database_url: str) -> None:
    change = {"users": [[2, "OPT_IN"], [-1, "UNKNOWN"]], "consent": []}
    async with await connect(database_url, "test") as conn:
        await append_own_events(
            conn, [Event(NOON, "audience.changed", uuid4(), orjson.dumps(change).decode())]
        )
        await project_all(database_url)
        counted = await conn.execute("SELECT consent_state, users FROM user_rollups ORDER BY 1")
        assert await counted.fetchall() == [("OPT_IN", 2), ("UNKNOWN", -1)]
        assert await (await conn.execute("SELECT * FROM signup_rollups")).fetchall() == []


# ── Inbound: hours of the week, days, zones ────────────────────────────────────────────────────────────────────────

# Both changes of the clock, half an hour of it in Lord Howe, and a zone of 5:45.
ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu"]
BEGIN = datetime(2025, 8, 20, 3, 21, tzinfo=UTC)


@pytest.mark.parametrize("is_settled", [False, True], ids=["unsettled", "settled"])
async def test_hours_of_the_week_and_days_equal_a_count_over_the_messages_in_any_zone(
    database_url: str, is_settled: bool
) -> None:
    chance = random.Random(4)
    messages = [
        (BEGIN + chance.random() * 300 * DAY, chance.choice(PHONES), chance.choice(["STOP", "help", "hi"]))
        for _ in range(600)
    ]
    split = [message for message in messages if message[0] < BEGIN + 40 * DAY]
    async with await connect(database_url, "test") as conn:
        await receive(conn, *split)
        await receive(conn, *[m for m in messages if m not in split], channel="whatsapp:")
        await project_all(database_url)
        for name in ZONES:
            zone = ZoneInfo(name)
            async with transaction(conn):
                await refresh_calendar(conn, zone)
            if is_settled:
                await settle(conn, BEGIN + 250 * DAY)
            for since, until in [
                (BEGIN, BEGIN + 300 * DAY),
                (BEGIN + 9.3 * DAY, BEGIN + 231.7 * DAY),
                (datetime(2025, 9, 1, tzinfo=zone), datetime(2026, 4, 1, tzinfo=zone)),
                (datetime(2025, 10, 5, 1, 30, tzinfo=zone), datetime(2025, 10, 27, tzinfo=zone)),
            ]:
                window = Window(since.astimezone(UTC), until.astimezone(UTC))
                for channel in (None, "sms", "whatsapp"):
                    of_channel = [
                        m for m in messages if channel in (None, "sms" if m in split else "whatsapp")
                    ]
                    inside = [m for m in of_channel if window.since <= m[0] < window.until]
                    found = await load_inbound(conn, window, zone, KEY, channel)
                    local = [at.astimezone(zone) for at, _, _ in inside]
                    expected = Counter((at.weekday(), at.hour) for at in local)
                    assert {
                        (weekday, hour): n
                        for weekday, hours in enumerate(found.week)
                        for hour, n in enumerate(hours)
                        if n
                    } == expected, (name, since, channel)
                    assert {day: sum(n.values()) for day, n in (found.by_day or {}).items()} == Counter(
                        at.date().isoformat() for at in local
                    )
                    assert found.total == len(inside)
                    assert found.senders.count == len({phone for _, phone, _ in inside})
        assert await find_differences(database_url) == []


# ── Unique senders ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_unique_senders_are_exact_within_a_day_and_lie_in_their_interval_beyond(
    database_url: str,
) -> None:
    chance = random.Random(11)
    crowd = [f"+1415{number:07d}" for number in range(2000000, 2030000, 7)]
    messages = [(NOON + chance.random() * 70 * DAY, chance.choice(crowd), "hi") for _ in range(9000)]
    async with await connect(database_url, "test") as conn:
        for start in range(0, len(messages), 3000):
            await receive(conn, *messages[start : start + 3000])
            await project_all(database_url)

        async def count(since: datetime, until: datetime) -> tuple[senders.Senders, int]:
            wrote = {phone for at, phone, _ in messages if since <= at < until}
            return await senders.count_senders(conn, Window(since, until), None, KEY), len(wrote)

        found, expected = await count(NOON + 3.2 * DAY, NOON + 4.2 * DAY)
        assert (found.count, found.is_exact, found.low, found.high) == (expected, True, expected, expected)
        for since, until in [(0, 70), (3.3, 61.9), (30, 31.5)]:
            found, expected = await count(NOON + since * DAY, NOON + until * DAY)
            assert found.low <= expected <= found.high, (since, until)
            assert found.high - found.low < 0.05 * expected + 3
        assert await find_differences(database_url) == []


async def test_an_erasure_leaves_sketches_as_they_are(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await receive(conn, *[(NOON + n * DAY, phone, "hi") for n in range(5) for phone in PHONES[:3]])
        await project_all(database_url)
        window = Window(NOON - DAY, NOON + 9 * DAY)
        assert (await senders.count_senders(conn, window, None, KEY)).count == 3
        async with transaction(conn):
            await erase_person(conn, ACTOR, KEY, PHONES[0], NOON + 6 * DAY)
        assert (await senders.count_senders(conn, window, None, KEY)).count == 3
        cut = Window(NOON + timedelta(minutes=1), NOON + 9 * DAY)  # the erased person's own row at the begin
        assert (await senders.count_senders(conn, cut, None, KEY)).count == 3


async def test_messages_of_a_version_without_sketches_get_theirs_with_the_next_message(
    database_url: str,
) -> None:
    async with await connect(database_url, "test") as conn:
        await receive(conn, *[(NOON + n * DAY, PHONES[n], "hi") for n in range(4)])
        await project_all(database_url)
        await conn.execute("DELETE FROM sender_sketches")
        await receive(conn, (NOON + 4 * DAY, PHONES[4], "hi"))
        await project_all(database_url)
        window = Window(NOON - DAY, NOON + 9 * DAY)
        assert (await senders.count_senders(conn, window, None, KEY)).count == 5
        assert await find_differences(database_url) == []


async def test_a_sketch_that_somebody_changed_is_found_and_put_right(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await receive(conn, *[(NOON, phone, "hi") for phone in PHONES])
        await project_all(database_url)
        await conn.execute("DELETE FROM sender_sketches WHERE grain = 'month' AND channel = ''")
        [difference] = await find_differences(database_url)
        assert (difference.table, difference.missing, difference.surplus) == ("sender_sketches", 1, 0)
        await recount(database_url, repair=True, on_progress=lambda _: None, secret_key=KEY)
        assert await find_differences(database_url) == []


# ── Consent, and rules that change ─────────────────────────────────────────────────────────────────────────────────


async def test_transitions_are_told_by_step_and_source(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await receive(conn, (NOON, PHONES[0], "STOP"), (NOON + DAY, PHONES[0], "START"))
        await receive(conn, (NOON + DAY, PHONES[1], "STOP"))
        await project_all(database_url)
        window = Window(NOON - DAY, NOON + 2 * DAY)
        found = await load_consent_changes(conn, window, DAY, ZoneInfo("UTC"))
    assert found.by_state == {"OPT_IN": 1, "OPT_OUT": 0, "STOP": 2}
    assert found.by_source["inbound"] == {"OPT_IN": 1, "OPT_OUT": 0, "STOP": 2}
    assert [tuple(point.by_state.values()) for point in found.points] == [
        (0, 0, 0),
        (0, 0, 1),
        (1, 0, 1),
        (0, 0, 0),
    ]


async def test_new_words_classify_history_anew_with_a_rebuild(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await receive(conn, (NOON, PHONES[0], "lost parcel"), (NOON, PHONES[1], "genug"))
        await project_all(database_url)
        await conn.execute(
            "INSERT INTO intent_words SELECT 2, keyword, word, match, position FROM intent_words WHERE version = 1"
        )
        await conn.execute("INSERT INTO intent_words VALUES (2, 'order', 'parcel', 'word', 4)")
        await conn.execute("INSERT INTO intent_words VALUES (2, 'stop', 'genug', 'body', 1)")
        await recount(database_url, repair=True, on_progress=lambda _: None, secret_key=KEY)
        found = await load_inbound(conn, Window(NOON, NOON + DAY), ZoneInfo("UTC"), KEY)
        assert found.by_intent == {"stop": 1, "help": 0, "start": 0, "order": 1, "general": 0}
        state = await conn.execute("SELECT consent_state FROM users WHERE phone_e164 = %s", (PHONES[1],))
        assert await state.fetchone() == ("STOP",)
        assert await find_differences(database_url) == []
