"""What advice on campaigns is made of: counted from roll-ups and drawn from messages, against a count in Python."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.infra.database import Connection, connect, snapshot
from event_stream_engine.insights import campaign_parts, opt_outs, segment_sizes, send_hours, templates
from event_stream_engine.insights.campaign_parts import EARLIER_DAYS, SETTLED_AFTER, load_sample, load_sent
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Examination, choose
from event_stream_engine.kernel.clock import SettableClock

CAMPAIGNS, PEOPLE = 48, 300
BAD_TEMPLATE = UUID(int=2001)
BEST_HOUR = 12
# Numbers of the United Kingdom may be in four zones, whose clocks show the same.
ZONES = {"1415": "America/Los_Angeles", "1212": "America/New_York", "4477": "Europe/Guernsey"}

# Campaigns of 90 days to three segments, with six texts, each within an hour. What becomes of a message follows from a
# hash; the second text arrives badly, and at noon by the recipient's clock twice as many answer.
MAKE = """
INSERT INTO segments (id, name, filter, created_at, updated_at)
SELECT lpad(to_hex(1000 + n), 32, '0')::uuid, 'Segment ' || n, '{"and": []}', %(since)s, %(since)s FROM generate_series(0, 2) AS n;
INSERT INTO templates (id, name, channel, locale, body, created_at, updated_at)
SELECT lpad(to_hex(2000 + n), 32, '0')::uuid, 'Template ' || n, 'sms', 'en', 'Hello', %(since)s, %(since)s FROM generate_series(0, 5) AS n;
INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, state, template, filter, created_by, created_at, updated_at, started_at, recipients)
SELECT lpad(to_hex(1 + n), 32, '0')::uuid, 'Campaign ' || n, lpad(to_hex(1000 + n %% 3), 32, '0')::uuid, lpad(to_hex(2000 + n %% 6), 32, '0')::uuid,
       '+14155238886', 10, 'completed', '{"channel": "sms"}', '{"and": []}', 'operator:test', %(since)s, %(since)s,
       %(since)s + interval '40 hours' * n + interval '1 hour' * (13 + n %% 5 * 2), %(people)s
FROM generate_series(0, %(campaigns)s - 1) AS n;
INSERT INTO messages (id, campaign_id, recipient_phone, channel, sender, country, queued_at, answered_at, provider_sid, first_seen_at, first_status,
                      last_status, last_seen_at, sent_at, delivered_at, failed_at, failed_status, error_code, replied_at, stopped_at)
SELECT time_ordered_uuid(c.started_at, c.id::text || p.phone), c.id, p.phone, 'sms', c.sender, p.country, c.started_at, c.started_at + interval '1 second',
       'SM' || md5(c.id::text || p.phone), c.started_at + interval '1 second', 4, 8, c.started_at + interval '1 minute', c.started_at + interval '2 seconds',
       CASE WHEN d.arrives THEN c.started_at + interval '1 minute' END, CASE WHEN NOT d.arrives THEN c.started_at + interval '1 minute' END,
       CASE WHEN NOT d.arrives THEN 7 END, CASE WHEN NOT d.arrives THEN 30003 END,
       CASE WHEN d.answer < 40 + CASE WHEN d.hour = %(hour)s THEN 80 ELSE 0 END THEN c.started_at + interval '1 hour' END,
       CASE WHEN d.answer < 5 THEN c.started_at + interval '1 hour' END
FROM campaigns c
CROSS JOIN LATERAL (
    SELECT '+' || k.prefix || (2000000 + n + 1000 * (substr(c.name, 10)::int %% 3)) AS phone, k.country, k.zone
    FROM generate_series(1, %(people)s) AS n
    JOIN (VALUES (0, '1415', 'US', 'America/Los_Angeles'), (1, '1212', 'US', 'America/New_York'), (2, '4477', 'GB', 'Europe/London'))
        AS k (place, prefix, country, zone) ON k.place = n %% 3) AS p
CROSS JOIN LATERAL (
    SELECT abs(hashtext(c.id::text || p.phone)) %% 1000 < CASE WHEN c.template_id = %(bad)s THEN 700 ELSE 900 END AS arrives,
           abs(hashtext(p.phone || c.id::text)) %% 1000 AS answer, extract(hour FROM c.started_at AT TIME ZONE p.zone) AS hour) AS d;
"""
# As the projector does it; that is tested elsewhere.
ROLL_UP = """
INSERT INTO message_rollups
SELECT t.grain, t.slice, t.bucket, t.campaign_id, t.channel, t.country, t.sender, count(*), count(*) FILTER (WHERE m.is_sent), 0,
       count(*) FILTER (WHERE m.is_replied), count(*) FILTER (WHERE m.is_stopped), 0, 0, 0, 0, 0, 0,
       0, count(*) FILTER (WHERE m.status = 'UNDELIVERED'), count(*) FILTER (WHERE m.status = 'DELIVERED'), 0
FROM messages m CROSS JOIN LATERAL rollup_targets(m.cohort_at, m.campaign_id, m.channel, m.country, m.sender) AS t
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


async def make_campaigns(conn: Connection, look: Look) -> None:
    asked = {
        "since": look.window.since,
        "campaigns": CAMPAIGNS,
        "people": PEOPLE,
        "bad": BAD_TEMPLATE,
        "hour": BEST_HOUR,
    }
    for statement in MAKE.split(";\n")[:-1]:
        await conn.execute(statement, asked)  # type: ignore[arg-type]
    await conn.execute(ROLL_UP)
    await conn.execute("INSERT INTO user_rollups (consent_state, users) VALUES ('OPT_IN', 900)")
    await conn.execute("ANALYZE messages")


@pytest.fixture
def look(clock: SettableClock) -> Look:
    return Look(clock.now(), ZoneInfo("UTC"), "a secret key of tests, 32 letters and more")


async def list_messages(conn: Connection, look: Look) -> list[Any]:
    """Return campaign, number, country, cohort, arrived, replied and stopped of what is settled."""
    rows = await conn.execute(
        "SELECT campaign_id, recipient_phone, country, cohort_at, delivered_at IS NOT NULL, is_replied, is_stopped FROM messages"
        " WHERE cohort_at < %s",
        [look.now - SETTLED_AFTER],
    )
    return await rows.fetchall()


async def test_parts_equal_a_recount_and_leave_out_what_is_not_settled(database_url: str, look: Look) -> None:
    async with await connect(database_url, "test") as conn:
        await make_campaigns(conn, look)
        sent = await load_sent(conn, look)
        counted: dict[tuple[UUID, str], list[int]] = {}
        for campaign_id, _, country, _, arrived, replied, stopped in await list_messages(conn, look):
            counts = counted.setdefault((campaign_id, country), [0, 0, 0, 0])
            for place, value in enumerate((1, arrived, replied, stopped)):
                counts[place] += value
        found = {
            (one.campaign_id, one.region): [one.sent, one.delivered, one.replied, one.stopped]
            for one in sent.parts
        }
        assert found == counted
        assert 30 < len(sent.campaigns) <= CAMPAIGNS
        one = sent.campaigns[UUID(int=2)]
        assert (one.name, one.segment, one.template, one.recipients) == (
            "Campaign 1",
            "Segment 1",
            "Template 1",
            PEOPLE,
        )
        assert (one.channel, one.is_template_archived) == ("sms", False)


async def test_sample_knows_local_hours_and_what_people_got_before(database_url: str, look: Look) -> None:
    async with await connect(database_url, "test") as conn:
        await make_campaigns(conn, look)
        await conn.execute(
            "INSERT INTO users (phone_e164, created_at, country, timezone, updated_at) SELECT recipient_phone, %s, 'US', 'Asia/Kolkata', %s"
            " FROM messages WHERE recipient_phone LIKE '+1212%%' ON CONFLICT DO NOTHING",
            [look.now, look.now],
        )
        lost = "+14152000003"
        await conn.execute(
            "INSERT INTO users (phone_e164, created_at, country, timezone, updated_at) VALUES (%s, %s, 'US', 'Nowhere/City', %s)",
            [lost, look.now, look.now],
        )
        messages = await list_messages(conn, look)
        times: dict[str, list[datetime]] = {}
        for _, phone, _, at, *_ in messages:
            times.setdefault(phone, []).append(at)
        counted: Counter[tuple[UUID, str, int | None, int]] = Counter()
        for campaign_id, phone, _, at, *_ in messages:
            zone = "Asia/Kolkata" if phone.startswith("+1212") else ZONES[phone[1:5]]
            earlier = sum(at - timedelta(days=EARLIER_DAYS) <= other < at for other in times[phone])
            where = ("US", None) if phone == lost else (zone, at.astimezone(ZoneInfo(zone)).hour)
            counted[campaign_id, *where, min(earlier, 5)] += 1
        async with snapshot(conn):
            sample = await load_sample(conn, look)
        assert {
            (one.campaign_id, one.region, one.hour, one.earlier): one.sent for one in sample.parts
        } == counted
        assert max(one.earlier or 0 for one in sample.parts) >= 1


async def test_sample_is_bounded_and_drawn_from_all_people(
    database_url: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaign_parts, "SAMPLED_MESSAGES", 60)
    monkeypatch.setattr(campaign_parts, "MOST_SAMPLED_CAMPAIGNS", 7)
    async with await connect(database_url, "test") as conn:
        await make_campaigns(conn, look)
        async with snapshot(conn):
            sample = await load_sample(conn, look)
    assert len(sample.campaigns) == 7
    sent = Counter[UUID]()
    regions = Counter[str]()
    for one in sample.parts:
        sent[one.campaign_id] += one.sent
        regions[one.region] += one.sent
    assert set(sent.values()) == {60}
    assert all(90 <= count <= 190 for count in regions.values())


async def examine(conn: Connection, look: Look) -> list[Examination]:
    found = []
    for kind in (templates, segment_sizes, send_hours, opt_outs):
        async with snapshot(conn):
            found.append(await kind.examine(conn, look))
    return found


async def test_what_is_planted_in_the_database_is_found_and_nothing_else(
    database_url: str, look: Look
) -> None:
    async with await connect(database_url, "test") as conn:
        await make_campaigns(conn, look)
        found = choose(await examine(conn, look)).recommendations
    assert {one.key for one in found} == {
        f"template:delivery:{BAD_TEMPLATE}",
        f"send_hour:reply:all:{BEST_HOUR}:00",
    }
    bad = next(one for one in found if one.kind == "template")
    assert bad.interval is not None
    assert bad.interval.low < -20 < bad.interval.high
    # Eight campaigns of 300 in 87 days lose a fifth.
    assert bad.expected_gain_messages == pytest.approx(8 * 300 * 0.2 * 30 / 87, rel=0.25)


async def test_an_empty_engine_says_that_there_is_too_little(database_url: str, look: Look) -> None:
    async with await connect(database_url, "test") as conn:
        found = await examine(conn, look)
    assert choose(found).recommendations == []
    assert all(one.unknown for one in found)
