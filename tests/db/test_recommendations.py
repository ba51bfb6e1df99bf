"""Recommendations on a real database: what is found, followed, taken, and what came of it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.audit.entries import hash_person
from event_stream_engine.campaigns import campaigns, templates
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.insights import following, registration, send_rates, senders, unreachable, wide_texts
from event_stream_engine.insights.following import Followed
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Recommendation
from event_stream_engine.insights.recommendations import run_all
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.worker.adviser import advise_once
from tests.engine import LIVE, make_settings
from tests.sending import (
    OPERATOR,
    SENDER,
    WatchedProvider,
    add_campaign,
    add_people,
    count,
    fill_outbox,
    send_all,
)
from tests.sent_history import Sent, add_pace, add_sent, add_started, count_all, days_before

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
OTHER = "+14155550100"


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, "test") as conn:
        yield conn


def look_at(now: datetime = NOW) -> Look:
    return Look(now, ZoneInfo("UTC"), LIVE.secret_key)


async def open_advice(conn: Connection, kind: str) -> list[Followed]:
    return await following.list_followed(conn, ["open"], kind=kind)


async def load_only(conn: Connection, kind: str) -> Followed:
    (one,) = await open_advice(conn, kind)
    return one


async def plant_unreachable(conn: Connection, now: datetime = NOW) -> None:
    """People 0 to 9 failed for good, 10 to 12 three times with 30005, 13 twice; 14 once for good, and was reached after."""
    await add_people(conn, 40, days_before(now, 100))
    for days in (40, 20, 10):
        campaign_id = await add_started(conn, days_before(now, days), name=f"Days {days}")
        await add_sent(
            conn,
            Sent(days_before(now, days), 3, campaign_id, first=10, arrive_percent=0, code=30005),
            Sent(days_before(now, days), 20, campaign_id, first=20),
        )
        if days == 40:
            await add_sent(
                conn, Sent(days_before(now, days), 10, campaign_id, first=0, arrive_percent=0, code=21614)
            )
            await add_sent(
                conn, Sent(days_before(now, days), 1, campaign_id, first=14, arrive_percent=0, code=21614)
            )
        else:
            await add_sent(
                conn, Sent(days_before(now, days), 1, campaign_id, first=13, arrive_percent=0, code=30005)
            )
            await add_sent(conn, Sent(days_before(now, days), 1, campaign_id, first=14))


async def test_numbers_that_failed_for_good_or_three_times_are_found_and_those_reached_since_are_not(
    conn: Connection,
) -> None:
    await plant_unreachable(conn)
    found = await unreachable.list_unreachable(conn, look_at())
    assert {int(one.phone[-2:]) for one in found} == set(range(13))
    assert {one.failures for one in found if one.error_code == 30005} == {3}
    assert await unreachable.list_unreachable(conn, look_at(), channel="whatsapp") == []
    await conn.execute("UPDATE users SET consent_state = 'STOP' WHERE phone_e164 = '+14152000001'")
    await conn.execute(
        "INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)"
        " VALUES (gen_random_uuid(), 'SM1', '+14152000002', %s, 'sms', 'hi', %s, 'general', 'general', false)",
        (SENDER, days_before(NOW, 3)),
    )
    await conn.execute(
        "INSERT INTO suppressions (phone_hash, reason, created_at) VALUES (%s, 'erased', %s)",
        (hash_person(LIVE.secret_key, "+14152000003"), NOW),
    )
    kept = {int(one.phone[-2:]) for one in await unreachable.list_unreachable(conn, look_at())}
    assert kept == set(range(13)) - {1, 2, 3}, "STOP, wrote since, erased"


async def test_suppressing_is_audited_holds_back_messages_and_ends_when_the_person_writes(
    conn: Connection, database_url: str, tmp_path: object
) -> None:
    from event_stream_engine.kernel.clock import SystemClock

    clock = SystemClock()
    now = clock.now()
    await plant_unreachable(conn, now)
    await advise_once(conn, look_at(now))
    advice = await load_only(conn, "unreachable")
    assert advice.recommendation.title == "Stop writing to 13 numbers that cannot be reached by SMS"
    assert advice.gain == 6, "of 3 people, twice in 30 days"
    async with transaction(conn):
        taken = await following.take(conn, OPERATOR, advice.id, look_at(now))
    assert taken.state == "taken"
    assert taken.done is not None
    assert taken.done.startswith("13 numbers")
    assert await count(database_url, "SELECT count(*) FROM audit_log WHERE action = 'user.suppressed'") == 13
    assert (
        await count(
            database_url,
            "SELECT count(*) FROM audit_log WHERE action = 'recommendation.taken' AND actor = %s",
            OPERATOR.name,
        )
        == 1
    )
    await conn.execute(
        "INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)"
        " VALUES (gen_random_uuid(), 'SM1', '+14152000002', %s, 'sms', 'hi', clock_timestamp(), 'general', 'general', false)",
        (SENDER,),
    )
    campaign_id = await add_campaign(conn, now, name="Next")
    await fill_outbox(conn, campaign_id, now)
    provider = WatchedProvider()
    await send_all(database_url, make_settings(tmp_path).data_dir, provider, clock)  # type: ignore[arg-type]
    written = {int(one.recipient_phone[-2:]) for one in provider.taken}
    assert written == {2, *range(13, 40)}, "the twelve who stayed silent are not written to"
    assert (
        await count(database_url, "SELECT count(*) FROM events WHERE payload ->> 'Reason' = 'unreachable'")
        == 12
    )
    async with transaction(conn):
        await following.reopen(conn, OPERATOR, advice.id, now)
    assert await count(database_url, "SELECT count(*) FROM suppressions") == 0
    assert await count(database_url, "SELECT count(*) FROM audit_log WHERE action = 'user.released'") == 13


async def test_taking_twice_is_taking_once_and_what_is_gone_cannot_be_taken(conn: Connection) -> None:
    await plant_unreachable(conn)
    await advise_once(conn, look_at())
    await advise_once(conn, look_at(NOW + timedelta(hours=1)))
    advice = await load_only(conn, "unreachable")
    for _ in range(2):
        async with transaction(conn):
            taken = await following.take(conn, OPERATOR, advice.id, look_at())
    assert taken.state == "taken"
    with pytest.raises(Conflict, match="was taken"):
        await following.dismiss(conn, OPERATOR, advice.id, "no", NOW)
    async with transaction(conn):
        await following.reopen(conn, OPERATOR, advice.id, NOW)
    await conn.execute("UPDATE users SET consent_state = 'STOP'")
    await advise_once(conn, look_at(NOW + timedelta(hours=2)))
    gone = await following.load_followed(conn, advice.id)
    assert (gone.state, gone.ended_at) == ("gone", NOW + timedelta(hours=2))
    with pytest.raises(Conflict, match="no longer holds"):
        await following.take(conn, OPERATOR, advice.id, look_at())
    with pytest.raises(NotFound):
        await following.load_followed(conn, UUID(int=0))


async def test_a_dismissed_one_is_not_advised_again_for_90_days_and_keeps_its_reason(
    conn: Connection,
) -> None:
    await plant_unreachable(conn)
    await advise_once(conn, look_at())
    advice = await load_only(conn, "unreachable")
    with pytest.raises(Invalid):
        await following.dismiss(conn, OPERATOR, advice.id, "  ", NOW)
    async with transaction(conn):
        await following.dismiss(conn, OPERATOR, advice.id, "They will be called", NOW)
    await advise_once(conn, look_at(NOW + timedelta(days=1)))
    assert await open_advice(conn, "unreachable") == []
    (dismissed,) = await following.list_followed(conn, ["dismissed"])
    assert (dismissed.reason, dismissed.ended_at) == ("They will be called", None)
    await plant_unreachable_again(conn, NOW + timedelta(days=80))
    await advise_once(conn, look_at(NOW + timedelta(days=91)))
    await advise_once(conn, look_at(NOW + timedelta(days=91, hours=1)))
    assert len(await open_advice(conn, "unreachable")) == 1


async def plant_unreachable_again(conn: Connection, at: datetime) -> None:
    campaign_id = await add_started(conn, at, name="Later")
    await add_sent(conn, Sent(at, 10, campaign_id, first=0, arrive_percent=0, code=21614))


async def test_registration_faults_are_told_by_country_and_a_little_filtering_is_not(
    conn: Connection, database_url: str
) -> None:
    await add_sent(
        conn,
        Sent(days_before(NOW, 5), 400, first=0, arrive_percent=90, code=30034),
        Sent(days_before(NOW, 5), 1000, first=1000, arrive_percent=99, code=30007, country="DE"),
        Sent(
            days_before(NOW, 6), 1000, first=3000, arrive_percent=97, code=30007, country="FR", sender=OTHER
        ),
        Sent(days_before(NOW, 6), 100, first=5000, arrive_percent=90, code=21408, country="BR"),
    )
    await count_all(database_url, NOW)
    found = {one.key: one for one in (await registration.examine(conn, look_at())).facts}
    assert set(found) == {"registration:US:30034", "registration:FR:30007"}, "few, or no more than usual"
    registered = found["registration:US:30034"]
    assert registered.evidence.rows == ((SENDER, 40, 400, 10.0),)
    assert (registered.expected_gain_messages, registered.effect) == (40, 10.0)


async def test_a_rate_is_advised_below_which_nothing_overflowed(conn: Connection, database_url: str) -> None:
    fast = await add_started(conn, days_before(NOW, 4), name="Fast", rate=40)
    slow = await add_started(conn, days_before(NOW, 6), name="Slow", rate=10)
    await add_sent(
        conn,
        Sent(days_before(NOW, 4), 2000, fast, first=0, arrive_percent=90, code=30001),
        Sent(days_before(NOW, 6), 2000, slow, first=3000),
    )
    await add_pace(conn, fast, days_before(NOW, 4), 2000, 50)
    await add_pace(conn, slow, days_before(NOW, 6), 2000, 200)
    await count_all(database_url, NOW)
    draft = await add_campaign(conn, NOW, name="Draft", rate=50)
    (advice,) = (await send_rates.examine(conn, look_at())).facts
    assert advice.title == f"Send at most 15 messages a second from {SENDER}"
    assert [row[0] for row in advice.evidence.rows] == ["8 to 15", "32 to 63"]
    assert (advice.expected_gain_messages, advice.sample_size) == (200, 4000)
    assert advice.action is not None
    await advise_once(conn, look_at())
    async with transaction(conn):
        taken = await following.take(conn, OPERATOR, (await load_only(conn, "send_rate")).id, look_at())
    assert taken.done == "Lowered to 15 messages a second at most: Draft."
    assert (await campaigns.load_campaign(conn, draft)).rate_per_second == 15


async def test_a_long_queue_asks_for_the_providers_own_pace(conn: Connection, database_url: str) -> None:
    campaign_id = await add_started(conn, days_before(NOW, 4), rate=40)
    await add_sent(conn, Sent(days_before(NOW, 4), 2000, campaign_id, queue_seconds=1900))
    await add_pace(conn, campaign_id, days_before(NOW, 4), 2000, 100)
    await count_all(database_url, NOW)
    (advice,) = (await send_rates.examine(conn, look_at())).facts
    assert advice.title == f"Send at most 1 messages a second from {SENDER}"
    assert advice.expected_gain_messages is None
    assert advice.gain_unknown is not None
    assert advice.action is None, "no campaign is to be sent"


async def test_a_sender_that_fades_is_found_and_one_bad_day_of_all_is_not(
    conn: Connection, database_url: str
) -> None:
    for day in range(2, 60):
        at = days_before(NOW, day)
        usual = 60 if day == 5 else 95 - day % 3
        fading = usual if day > 8 else usual - 30
        await add_sent(
            conn,
            Sent(at, 100, first=0, arrive_percent=usual),
            Sent(at, 100, first=1000, arrive_percent=fading, sender=OTHER),
        )
    await count_all(database_url, NOW)
    run = await run_all(conn, look_at())
    (advice,) = [one for one in run.advice.recommendations if one.kind == "sender"]
    assert advice.subject == f"sender:{OTHER}"
    assert advice.effect is not None
    assert -31 < advice.effect < -29
    assert advice.corrected_p is not None
    assert advice.corrected_p < 0.01
    examination = await senders.examine(conn, look_at())
    assert len(examination.comparisons) == 2
    assert [one.recommendation is None for one in examination.comparisons] == [True, False]


async def test_a_text_that_costs_double_is_found_written_plainly_and_measured_afterwards(
    conn: Connection, database_url: str
) -> None:
    await add_people(conn, 200, days_before(NOW, 100))
    body = "Hello {name}, it’s time: our sale begins today – everything must go, and for members there is free delivery too."
    campaign_id = await add_started(conn, days_before(NOW, 5), body=body)
    plain = await add_started(conn, days_before(NOW, 5), name="Plain", body="Hello {name}, it's time")
    russian = await add_started(conn, days_before(NOW, 5), name="Russian", body="Привет, {name} – это мы")
    for one in (campaign_id, plain, russian):
        await add_sent(conn, Sent(days_before(NOW, 5), 200, one))
    (advice,) = (await wide_texts.examine(conn, look_at())).facts
    assert (advice.effect, advice.sample_size) == (-1.0, 200)
    assert advice.gain_unknown is not None
    assert "200 segments" in advice.gain_unknown
    assert [row[0] for row in advice.evidence.rows][:2] == [
        "right single quotation mark (1×)",
        "en dash (1×)",
    ]
    await advise_once(conn, look_at())
    followed = await load_only(conn, "wide_text")
    async with transaction(conn):
        await following.take(conn, OPERATOR, followed.id, look_at())
    template_id = UUID(advice.subject.partition(":")[2])
    assert (
        "it's time: our sale begins today - everything"
        in (await templates.load_template(conn, template_id)).body
    )
    later = NOW + timedelta(days=5)
    next_one = await add_started(conn, NOW + timedelta(days=2), name="Next")
    await conn.execute(
        "UPDATE campaigns SET template_id = %s, template = jsonb_set(template, '{body}', to_jsonb((SELECT body FROM templates WHERE id = %s))) WHERE id = %s",
        (template_id, template_id, next_one),
    )
    await advise_once(conn, look_at(NOW + timedelta(hours=2)))
    assert (await outcome_of(conn, followed.id))["verdict"] == "too_early"
    await add_sent(conn, Sent(NOW + timedelta(days=2), 200, next_one))
    await advise_once(conn, look_at(later))
    outcome = await outcome_of(conn, followed.id)
    assert (outcome["verdict"], outcome["difference"], outcome["is_final"]) == ("better", -100.0, False)


async def outcome_of(conn: Connection, recommendation_id: UUID) -> dict[str, object]:
    outcome = (await following.load_followed(conn, recommendation_id)).outcome
    assert outcome is not None
    return dict(outcome)


async def test_an_outcome_is_measured_by_days_until_it_is_final_and_then_no_longer_followed(
    conn: Connection, database_url: str
) -> None:
    for day in range(30):
        await add_sent(
            conn,
            Sent(days_before(NOW, day + 0.5), 100, arrive_percent=80 - day % 3, code=30034, first=100 * day),
        )
    await count_all(database_url, NOW)
    await advise_once(conn, look_at())
    advice = await load_only(conn, "registration")
    assert advice.recommendation.action is None
    async with transaction(conn):
        taken = await following.take(conn, OPERATOR, advice.id, look_at())
    assert taken.done == "Noted as done."
    for day in range(28):
        await add_sent(
            conn,
            Sent(
                NOW + timedelta(days=day + 0.5),
                100,
                arrive_percent=98 - day % 3,
                code=30003,
                first=9000 + 100 * day,
            ),
        )
    await count_all(database_url, NOW + timedelta(days=40))
    await advise_once(conn, look_at(NOW + timedelta(days=10)))
    early = await outcome_of(conn, advice.id)
    assert (early["verdict"], early["is_final"]) == ("better", False)
    await advise_once(conn, look_at(NOW + timedelta(days=30)))
    final = await outcome_of(conn, advice.id)
    assert (final["verdict"], final["is_final"]) == ("better", True)
    assert isinstance(final["difference"], float)
    assert -22.5 < final["difference"] < -20
    await advise_once(conn, look_at(NOW + timedelta(days=30, hours=1)))
    ended = await following.load_followed(conn, advice.id)
    assert ended.state == "taken"
    assert ended.ended_at is not None
    await advise_once(conn, look_at(NOW + timedelta(days=500)))
    with pytest.raises(NotFound):
        await following.load_followed(conn, advice.id)


async def test_an_index_of_ours_is_left_alone_and_a_twin_of_it_is_to_be_dropped(conn: Connection) -> None:
    await conn.execute("CREATE INDEX my_twin ON users (created_at)")
    await advise_once(conn, look_at())
    advice = await load_only(conn, "index")
    assert advice.recommendation.subject == "index:my_twin"
    assert "DROP INDEX CONCURRENTLY my_twin;" in advice.recommendation.text
    async with transaction(conn):
        await following.take(conn, OPERATOR, advice.id, look_at())
    await advise_once(conn, look_at(NOW + timedelta(hours=1)))
    assert (await outcome_of(conn, advice.id))["verdict"] == "still_found"
    await conn.execute("DROP INDEX my_twin")


async def test_looks_tell_what_was_found_without_advice_and_two_looks_at_once_make_one_row(
    conn: Connection, database_url: str
) -> None:
    await plant_unreachable(conn)
    async with await connect(database_url, "other") as other:
        run = await run_all(conn, look_at())
        for one in (conn, other):
            async with transaction(one):
                await following.follow(one, run, NOW)
    assert len(await open_advice(conn, "unreachable")) == 1
    looks = {one.kind: one for one in await following.list_last_looks(conn)}
    assert looks["sender"].text.startswith("No sender sent 20 messages a day")
    assert looks["unreachable"].found == 1
    assert not any(one.failed for one in looks.values())
    assert await following.find_last_look(conn) == NOW


async def test_stored_advice_is_read_back_as_it_was(conn: Connection) -> None:
    await plant_unreachable(conn)
    run = await run_all(conn, look_at())
    async with transaction(conn):
        await following.follow(conn, run, NOW)
    stored: list[Recommendation] = [
        one.recommendation for one in await following.list_followed(conn, ["open"])
    ]
    assert stored == list(run.advice.recommendations)
    with pytest.raises(Invalid, match="no state"):
        await following.list_followed(conn, ["taken", "lost"])
