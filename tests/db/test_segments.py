"""A compiled filter finds the people that the definition of its conditions names."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb

from event_stream_engine.audience.segments import compile_filter, preview
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.errors import Invalid, Unavailable

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
STATES = ["OPT_IN", "OPT_OUT", "STOP", "UNKNOWN"]
COUNTRIES = ["US", "DE", None]
CHANNELS = ["sms", "whatsapp"]
NAMES = ["a", "b.c", 'it\'s "%s" {}']
VALUES: list[Any] = [
    None, True, False, 0, 30, -1, 1.5, 10**15, "", "30", "1.5", "true", "Riga", "riga", "RIGA West", "100%", "-7", "030", "1e3",
    "2026-03-01", "2026-02-30", "2026-03-02T10:00:00Z", "2026-03-02T14:30:00+05:30", "2026-03-02 12:00", "0000-01-01",
    "\\u0000", "'; DROP TABLE users --", ["vip", 30], [], {"x": 1}, "äÖ",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Someone:
    """`messages` and `replies` are (channel, instant)."""

    attributes: dict[str, Any]
    consent: str
    country: str | None
    created: datetime
    messages: list[tuple[str, datetime]]
    replies: list[tuple[str, datetime]]


instants = st.sampled_from([NOW - timedelta(hours=hours) for hours in (0, 1, 6, 24, 48, 720)])
contacts = st.lists(st.tuples(st.sampled_from(CHANNELS), instants), max_size=2)
someone = st.builds(
    Someone,
    attributes=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES)),
    consent=st.sampled_from(STATES),
    country=st.sampled_from(COUNTRIES),
    created=instants,
    messages=contacts,
    replies=contacts,
)
scalars = st.sampled_from([value for value in VALUES if isinstance(value, str | int | float)])
texts = st.sampled_from([value for value in VALUES if isinstance(value, str) and value])
numbers = st.sampled_from([0, 30, -1, 1.5, 29.999, 10**15])
moments = instants.map(lambda at: at.isoformat()) | st.sampled_from(
    ["2026-03-01", {"days_ago": 1}, {"hours_ago": 6}, {"days_ago": 0}]
)


def leaf(field: str, operator: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return value.map(lambda value: {"field": field, "operator": operator, "value": value})


def leaves() -> st.SearchStrategy[dict[str, Any]]:
    found = []
    for name in NAMES:
        field = f"attributes.{name}"
        found += [
            leaf(field, operator, scalars)
            for operator in ("equals", "not_equals", "contains")
            if operator != "contains"
        ]
        found += [leaf(field, "contains", scalars.filter(lambda value: value != ""))]
        found += [
            leaf(field, "in", st.lists(scalars, min_size=1, max_size=3)),
            leaf(field, "starts_with", texts),
        ]
        found += [leaf(field, operator, numbers) for operator in ("less", "greater")]
        found += [leaf(field, operator, moments) for operator in ("before", "after")]
        found += [leaf(field, "exists", st.booleans())]
    for field, values in (("consent", STATES), ("country", ["US", "DE", "FR"]), ("channel", CHANNELS)):
        found += [leaf(field, operator, st.sampled_from(values)) for operator in ("equals", "not_equals")]
        found += [leaf(field, "in", st.lists(st.sampled_from(values), min_size=1, max_size=2))]
    for field in ("created", "last_message", "last_reply"):
        found += [leaf(field, operator, moments) for operator in ("before", "after")]
    for field in ("country", "channel", "last_message", "last_reply"):
        found += [leaf(field, "exists", st.booleans()), st.just({"field": field, "operator": "exists"})]
    return st.one_of(found)


trees = st.recursive(
    leaves(),
    lambda part: st.one_of(
        st.lists(part, max_size=3).map(lambda parts: {"and": parts}),
        st.lists(part, min_size=1, max_size=3).map(lambda parts: {"or": parts}),
        part.map(lambda one: {"not": one}),
    ),
    max_leaves=6,
)


def is_in(person: Someone, tree: dict[str, Any]) -> bool:  # noqa: PLR0911 - a list of definitions
    """The definition, in Python."""
    if "and" in tree:
        return all(is_in(person, part) for part in tree["and"])
    if "or" in tree:
        return any(is_in(person, part) for part in tree["or"])
    if "not" in tree:
        return not is_in(person, tree["not"])
    field, operator, value = tree["field"], tree["operator"], tree.get("value", True)
    if operator == "not_equals":
        return not is_in(person, tree | {"operator": "equals"})
    if operator == "exists" and value is False:
        return not is_in(person, tree | {"value": True})
    wanted = value if operator == "in" else [value]
    match field:
        case "consent":
            return person.consent in wanted
        case "country":
            return person.country is not None if operator == "exists" else person.country in wanted
        case "channel":
            used = {channel for channel, _ in person.messages + person.replies}
            return bool(used) if operator == "exists" else bool(used & set(wanted))
        case "created" | "last_message" | "last_reply":
            contacts = person.messages if field == "last_message" else person.replies
            at = person.created if field == "created" else max((at for _, at in contacts), default=None)
            return at is not None and (operator == "exists" or compare(operator, at, instant_of(value)))
    return is_attribute_in(person.attributes.get(field.removeprefix("attributes.")), operator, wanted)


def is_attribute_in(found: Any, operator: str, wanted: list[Any]) -> bool:  # noqa: PLR0911 - a list of definitions
    [value] = wanted if operator != "in" else [None]
    match operator:
        case "exists":
            return found is not None
        case "equals" | "in":
            return any(is_same(found, one) for one in wanted)
        case "contains" if isinstance(found, list):
            return any(is_same(one, value) for one in found)
        case "contains":
            return (
                found is not None
                and not isinstance(found, dict)
                and text_of(value).lower() in text_of(found).lower()
            )
        case "starts_with":
            is_text = found is not None and not isinstance(found, list | dict)
            return is_text and text_of(found).lower().startswith(value.lower())
        case "less" | "greater":
            text = found if isinstance(found, str) else text_of(found)
            if (
                isinstance(found, bool)
                or found is None
                or not re.fullmatch(r"[+-]?\d{1,40}(\.\d{1,40})?", text, re.ASCII)
            ):
                return False
            return float(text) < value if operator == "less" else float(text) > value
    if not isinstance(found, str):
        return False
    try:
        at = datetime.fromisoformat(found)
    except ValueError:
        return False
    return len(found) >= 10 and compare(
        operator, at if at.tzinfo else at.replace(tzinfo=UTC), instant_of(value)
    )


def is_same(one: Any, other: Any) -> bool:
    """A number, true and false equal their text."""
    if isinstance(one, list | dict) or one is None:
        return False
    if isinstance(one, str) == isinstance(other, str):
        return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
    return text_of(one) == text_of(other)


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def instant_of(value: Any) -> datetime:
    match value:
        case {"days_ago": days}:
            return NOW - timedelta(days=days)
        case {"hours_ago": hours}:
            return NOW - timedelta(hours=hours)
    at = datetime.fromisoformat(value)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def compare(operator: str, one: datetime, other: datetime) -> bool:
    return one < other if operator == "before" else one > other


@dataclass(frozen=True, slots=True)
class Workbench:
    runner: asyncio.Runner
    conn: Connection


@pytest.fixture
def workbench(database_url: str) -> Iterator[Workbench]:
    with asyncio.Runner() as runner:
        conn = runner.run(connect(database_url, "test"))
        yield Workbench(runner, conn)
        runner.run(conn.close())


async def store(conn: Connection, people: list[Someone]) -> None:
    await conn.execute("TRUNCATE users, messages, inbound_events")
    for number, person in enumerate(people):
        phone = f"+1415555{number:04d}"
        await conn.execute(
            "INSERT INTO users (phone_e164, attributes, consent_state, country, created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s)",
            (
                phone,
                Jsonb(person.attributes, dumps=orjson.dumps),
                person.consent,
                person.country,
                person.created,
                person.created,
            ),
        )
        for place, (channel, at) in enumerate(person.messages):
            await conn.execute(
                "INSERT INTO messages (id, recipient_phone, channel, sender, provider_sid, queued_at, answered_at)"
                " VALUES (gen_random_uuid(), %s, %s, 'x', %s, %s, %s)",
                (phone, channel, f"SM{number}x{place}", at - timedelta(minutes=1), at),
            )
        # One the provider refused is no contact.
        await conn.execute(
            "INSERT INTO messages (id, recipient_phone, channel, sender, queued_at, answered_at) VALUES (gen_random_uuid(), %s, 'rcs', 'x', %s, %s)",
            (phone, NOW, NOW),
        )
        for place, (channel, at) in enumerate(person.replies):
            await conn.execute(
                "INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)"
                " VALUES (gen_random_uuid(), %s, %s, 'x', %s, '', %s, 'general', 'general', false)",
                (f"IN{number}x{place}", phone, channel, at),
            )


async def find(conn: Connection, tree: object) -> list[int]:
    condition, parameters = compile_filter(tree, NOW)
    query = sql.SQL("SELECT right(phone_e164, 4)::integer FROM users u WHERE {} ORDER BY 1").format(condition)
    unknown = sql.SQL("SELECT count(*) FROM users u WHERE ({}) IS NULL").format(condition)
    assert await (await conn.execute(unknown, parameters)).fetchone() == (0,)
    return [number for (number,) in await (await conn.execute(query, parameters)).fetchall()]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=st.lists(someone, min_size=1, max_size=4), filters=st.lists(trees, min_size=3, max_size=8))
def test_compiled_filter_finds_whom_the_definition_names(
    workbench: Workbench, people: list[Someone], filters: list[dict[str, Any]]
) -> None:
    async def check() -> None:
        await store(workbench.conn, people)
        for tree in filters:
            expected = [number for number, person in enumerate(people) if is_in(person, tree)]
            assert await find(workbench.conn, tree) == expected, tree

    workbench.runner.run(check())


async def test_everybody_is_an_and_of_nothing(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await store(conn, [Someone({}, "STOP", None, NOW, [], [])] * 3)
        assert await find(conn, {"and": []}) == [0, 1, 2]
        found = await preview(conn, {"not": {"and": []}}, NOW)
        assert (found.people, found.all_people, found.sample) == (0, 3, [])


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ([], "filter"),
        ({}, "filter"),
        ("x", "filter"),
        (None, "filter"),
        ({"and": [], "or": []}, "filter"),
        ({"or": []}, "filter.or"),
        ({"xor": []}, "filter"),
        ({"and": [{"not": {"field": "shoe", "operator": "equals", "value": 1}}]}, "filter.and.0.not.field"),
        ({"field": "attributes.", "operator": "exists"}, "filter.field"),
        ({"field": "attributes", "operator": "exists"}, "filter.field"),
        ({"field": 7, "operator": "exists"}, "filter.field"),
        ({"field": "consent", "operator": "contains", "value": "OPT"}, "filter.operator"),
        ({"field": "consent", "operator": ["equals"], "value": "STOP"}, "filter.operator"),
        ({"field": "consent"}, "filter.operator"),
        ({"field": "consent", "operator": "equals"}, "filter.value"),
        ({"field": "consent", "operator": "equals", "value": "opt_in"}, "filter.value"),
        ({"field": "consent", "operator": "in", "value": []}, "filter.value"),
        ({"field": "consent", "operator": "in", "value": "STOP"}, "filter.value"),
        ({"field": "country", "operator": "equals", "value": "Germany"}, "filter.value"),
        ({"field": "channel", "operator": "equals", "value": "sms; --"}, "filter.value"),
        ({"field": "created", "operator": "before", "value": "2026-03-02T10:00:00"}, "filter.value"),
        ({"field": "created", "operator": "before", "value": "soon"}, "filter.value"),
        ({"field": "created", "operator": "before", "value": {"days_ago": -1}}, "filter.value"),
        ({"field": "created", "operator": "before", "value": {"days_ago": True, "x": 1}}, "filter.value"),
        ({"field": "attributes.a", "operator": "less", "value": "5"}, "filter.value"),
        ({"field": "attributes.a", "operator": "less", "value": True}, "filter.value"),
        ({"field": "attributes.a", "operator": "less", "value": float("nan")}, "filter.value"),
        ({"field": "attributes.a", "operator": "equals", "value": None}, "filter.value"),
        ({"field": "attributes.a", "operator": "equals", "value": {"x": 1}}, "filter.value"),
        ({"field": "attributes.a", "operator": "equals", "value": "nul\0"}, "filter.value"),
        ({"field": "attributes.a", "operator": "equals", "value": "\ud800"}, "filter.value"),
        ({"field": "attributes.a", "operator": "contains", "value": ""}, "filter.value"),
        ({"field": "attributes.a", "operator": "exists", "value": "yes"}, "filter.value"),
        ({"field": "attributes.a", "operator": "exists", "extra": 1}, "filter"),
    ],
)
def test_wrong_filter_is_refused_at_its_place(tree: object, place: str) -> None:
    with pytest.raises(Invalid) as refused:
        compile_filter(tree, NOW)
    assert refused.value.field == place


def test_filter_too_deep_or_too_large_is_refused() -> None:
    tree: dict[str, Any] = {"field": "country", "operator": "exists"}
    wide = {"and": [{"or": [tree] * 60}, {"or": [tree] * 60}]}
    for _ in range(2000):
        tree = {"not": tree}
    for wrong in (tree, wide):
        with pytest.raises(Invalid):
            compile_filter(wrong, NOW)


async def test_equals_on_an_attribute_reads_the_index(database_url: str) -> None:
    async with await connect(database_url, "test") as conn:
        await conn.execute(
            "INSERT INTO users (phone_e164, attributes, created_at, updated_at)"
            " SELECT '+1415' || lpad(n::text, 7, '0'), jsonb_build_object('city', 'c' || n %% 500, 'n', n), now(), now() FROM generate_series(1, 20000) AS n",
            (),
        )
        await conn.execute("ANALYZE users")
        tree = {
            "and": [
                {"field": "attributes.city", "operator": "in", "value": ["c1", "c2"]},
                {"field": "consent", "operator": "equals", "value": "UNKNOWN"},
            ]
        }
        condition, parameters = compile_filter(tree, NOW)
        explained = await conn.execute(
            sql.SQL("EXPLAIN SELECT FROM users u WHERE {}").format(condition), parameters
        )
        plan = "\n".join(line for (line,) in await explained.fetchall())
        assert "users_attributes" in plan, plan


async def test_preview_that_takes_too_long_is_given_up_with_a_reason(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("event_stream_engine.audience.segments.PREVIEW_MS", 300)
    async with await connect(database_url, "test") as conn, await connect(database_url, "other") as other:
        async with transaction(other):
            await other.execute("LOCK TABLE users")
            with pytest.raises(Unavailable, match="given up"):
                await preview(conn, {"and": []}, NOW)
        assert (await preview(conn, {"and": []}, NOW)).people == 0
