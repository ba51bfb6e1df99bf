"""Every slice of every grain adds up to a count over the messages themselves."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

from event_stream_engine.analytics import rollups
from event_stream_engine.analytics.calendar import refresh_calendar
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import MESSAGE_ID, RECEIPT, make_event
from event_stream_engine.messaging import deliveries, outcomes
from event_stream_engine.stream.log import Event, append_events, append_own_events
from event_stream_engine.worker.projector import open_projector
from event_stream_engine.worker.recount import recount
from tests.engine import project_all

BEGIN = datetime(
    2026, 3, 27, 20, tzinfo=UTC
)  # the days after it go over a month's end and a change of clocks
ZONE = ZoneInfo("Australia/Lord_Howe")
LATER = BEGIN + timedelta(days=60)
CAMPAIGNS = [UUID(int=1), UUID(int=2)]
SLICES = {"minute": (15,), "quarter": (0, 1, 2, 4, 8, 15), "day": (0, 1, 2, 4, 5, 6, 8, 15), "month": (0, 1, 2, 4, 5, 6, 8, 15)}  # fmt: skip
NAMES = (
    ("campaign_id", 1, "'00000000-0000-0000-0000-000000000000'::uuid"),
    ("channel", 2, "''"),
    ("country", 4, "''"),
    ("sender", 8, "''"),
)
_STATUSES = (
    "accepted", "scheduled", "queued", "sending", "sent", "canceled", "failed", "undelivered", "delivered", "read",
)  # fmt: skip
_MESSAGE_COLUMNS = (
    "messages",
    "sent",
    "conflicts",
    "replied",
    "stopped",
    *(f"now_{one}" for one in _STATUSES),
)
_DIMENSIONS = "coalesce(campaign_id, '00000000-0000-0000-0000-000000000000') AS campaign_id, channel, coalesce(country, '') AS country, sender"


@dataclass(frozen=True, slots=True)
class Rolled:
    """What else than dimensions tells a roll-up's rows apart, its sums, and what one message adds."""

    more: tuple[str, ...]
    sums: tuple[str, ...]
    rows: str


TABLES = {
    "message_rollups": Rolled(
        (),
        _MESSAGE_COLUMNS,
        f"SELECT {_DIMENSIONS}, 1 AS messages, is_sent::int AS sent, is_conflict::int AS conflicts, is_replied::int AS replied, is_stopped::int AS stopped, "
        + ", ".join(f"(status = '{one.upper()}')::int AS now_{one}" for one in _STATUSES)
        + " FROM messages WHERE cohort_at IS NOT NULL",
    ),
    "failure_rollups": Rolled(
        ("error_code",),
        ("failed", "retried", "retried_sent", "retried_delivered"),
        f"SELECT {_DIMENSIONS}, failure_code AS error_code, 1 AS failed, 0 AS retried, 0 AS retried_sent, 0 AS retried_delivered"
        " FROM messages WHERE cohort_at IS NOT NULL AND status IN ('FAILED', 'UNDELIVERED') UNION ALL "
        f"SELECT {_DIMENSIONS}, postponed_code, 0, 1, is_sent::int, (status IN ('DELIVERED', 'READ'))::int"
        " FROM messages WHERE cohort_at IS NOT NULL AND postponed_code IS NOT NULL",
    ),
    "duration_rollups": Rolled(
        ("measure",),
        ("messages", "microseconds"),
        " UNION ALL ".join(
            f"SELECT {_DIMENSIONS}, '{measure}' AS measure, 1 AS messages, {measure}_us AS microseconds"
            f" FROM messages WHERE cohort_at IS NOT NULL AND {measure}_us IS NOT NULL"
            for measure in ("delivery", "queue", "carrier")
        ),
    ),
}


async def test_every_slice_of_every_grain_adds_up_to_the_messages(database_url: str) -> None:
    chance = random.Random(20260327)
    async with await connect(database_url, "test") as conn, await open_projector(database_url) as projector:
        async with transaction(conn):
            await refresh_calendar(conn, ZONE)
        own = await queue(conn, chance)
        webhooks = [event for _ in range(120) for event in make_external(chance)]
        told = [event for message_id in own for event in make_own(chance, message_id)]
        chance.shuffle(webhooks)
        half = len(webhooks) // 2
        await take(conn, webhooks[:half], told[::2])
        await project_all(database_url, 100)
        await settle_days(projector)
        await take(conn, webhooks[half:], told[1::2])  # comes late, for days that are settled
        await project_all(database_url, 100)
        for table in TABLES:
            for grain, slices in SLICES.items():
                for kept in slices:
                    assert await list_differences(conn, table, grain, kept) == [], (
                        table,
                        grain,
                        kept,
                    )
    assert await recount(database_url, repair=False, on_progress=lambda _: None) == []


async def list_differences(conn: Connection, table: str, grain: str, kept: int) -> list[tuple[object, ...]]:
    """Return the rows that only the roll-up or only the count over messages has, of all time together."""
    rolled = TABLES[table]
    keys = ", ".join([*(name for name, _, _ in NAMES), *rolled.more])
    counted = ", ".join(f"sum({name})::bigint AS {name}" for name in rolled.sums)
    dimensions = ", ".join(
        [*(f"{name}" if kept & bit else f"{nothing} AS {name}" for name, bit, nothing in NAMES), *rolled.more]
    )
    places = ", ".join(str(number + 1) for number in range(len(NAMES) + len(rolled.more)))
    summed = (
        f"SELECT {keys}, {counted} FROM {table} WHERE grain = '{grain}' AND slice = {kept} GROUP BY {places}"
    )
    raw = f"SELECT {dimensions}, {counted} FROM ({rolled.rows}) AS m GROUP BY {places}"
    nothing_left = " AND ".join(f"{name} = 0" for name in rolled.sums)
    query = (
        f"WITH rolled AS (SELECT * FROM ({summed}) AS s WHERE NOT ({nothing_left})), counted AS ({raw})"
        " (TABLE rolled EXCEPT TABLE counted) UNION ALL (TABLE counted EXCEPT TABLE rolled)"
    )
    return await (await conn.execute(query)).fetchall()


async def queue(conn: Connection, chance: random.Random) -> list[UUID]:
    await deliveries.prepare_queueing(conn)
    ids = [UUID(int=chance.getrandbits(120)) for _ in range(80)]
    async with transaction(conn):
        for number, message_id in enumerate(ids):
            await conn.execute(
                "INSERT INTO new_messages VALUES (%s, %s, %s, 'sms', '+14155238886', %s, %s, NULL)",
                (message_id, chance.choice(CAMPAIGNS), f"+1415555{number:04d}", chance.choice(["US", "CA", None]), BEGIN),
            )  # fmt: skip
        await deliveries.queue_messages(conn)
    return ids


async def take(conn: Connection, webhooks: list[Event], told: list[Event]) -> None:
    await append_events(conn, webhooks, source=uuid4(), counted_at=BEGIN, is_live=False)
    async with transaction(conn):
        await append_own_events(conn, told)


async def settle_days(projector: Connection) -> None:
    is_settled = True
    while is_settled:
        async with transaction(projector):
            is_settled = await rollups.settle_day(projector, LATER)


def pick(chance: random.Random) -> datetime:
    return BEGIN + timedelta(microseconds=chance.randrange(10 * 86_400_000_000))


def make_external(chance: random.Random) -> list[Event]:
    """Make the callbacks of a message that is not ours, some of them with an answer to it."""
    at, prefix = pick(chance), chance.choice(["", "whatsapp:"])
    phone = chance.choice(["+14155551234", "+447776105348", "+94771234567", "+999123456789"])
    form = {
        "MessageSid": f"SM{chance.getrandbits(64):032x}",
        "To": prefix + phone,
        "From": prefix + chance.choice(["+14155238886", "+12065550100"]),
    }
    events = [make_receipt(chance, form, at + timedelta(seconds=chance.randrange(4000))) for _ in range(3)]
    if chance.random() < 0.4:
        words = {"MessageSid": f"IN{chance.getrandbits(64):032x}", "From": prefix + phone, "To": form["From"]}
        body = chance.choice(["STOP", "thanks", "yes"])
        answered_at = at + timedelta(seconds=chance.randrange(20_000))
        events.append(make_event("inbound", words | {"Body": body}, answered_at, None))
    return events


def make_own(chance: random.Random, message_id: UUID) -> list[Event]:
    """Make what our sender and the provider tell of a message of ours."""
    at = pick(chance)
    events = []
    if chance.random() < 0.3:
        events.append(outcomes.postponed(message_id, at, chance.choice([20429, 30001, None])))
    kind = chance.random()
    if kind < 0.1:
        return [*events, outcomes.skipped(message_id, at, "consent_stop")]
    if kind < 0.2:
        return [*events, outcomes.refused(message_id, at, 21211)]
    sid = f"SM{message_id.hex}"
    events.append(outcomes.accepted(message_id, at, sid, "queued"))
    form = {"MessageSid": sid, "To": "+14155550000", "From": "+14155238886", MESSAGE_ID: str(message_id)}
    later = [at + timedelta(seconds=chance.randrange(4000)) for _ in range(3)]
    return events + [make_receipt(chance, form, one) for one in later]


def make_receipt(chance: random.Random, form: dict[str, str], at: datetime) -> Event:
    status = chance.choice(_STATUSES[2:])
    codes = {"ErrorCode": chance.choice(["30003", "30007"])} if status in ("failed", "undelivered") else {}
    return make_event(RECEIPT, form | {"MessageStatus": status} | codes, at, None)
