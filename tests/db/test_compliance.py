"""The check of what was handed over: what is planted is found once, and a clean campaign is clean."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from event_stream_engine.analytics import compliance_check
from event_stream_engine.analytics.compliance import (
    KINDS,
    Compliance,
    Violation,
    list_violations,
    load_compliance,
)
from event_stream_engine.analytics.compliance_check import check_next, prepare_check, recheck_window
from event_stream_engine.audit.entries import COMMAND_LINE, record
from event_stream_engine.campaigns import quiet_rules, reconciliation
from event_stream_engine.campaigns.erasure import erase_person
from event_stream_engine.campaigns.quiet_rules import QuietRule
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid, NotFound
from event_stream_engine.kernel.windows import Window
from event_stream_engine.messaging.provider import Outcome, OutgoingMessage, Postponed, Refused
from event_stream_engine.stream.log import append_own_events
from event_stream_engine.worker.checker import run_checker
from event_stream_engine.worker.sender import open_sender
from tests.db.test_audit_chain import pretend_restore, run_after_restore
from tests.db.test_sender import drive
from tests.engine import LIVE, make_settings, project_all
from tests.hand_overs import (
    NOON,
    add_consenting,
    check,
    consent,
    decision,
    event_of,
    hand_over,
    list_messages,
    start,
)
from tests.sending import OPERATOR, WatchedProvider, add_people

DAY = Window(datetime(2026, 3, 2, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC))
SECOND = timedelta(seconds=1)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, "test") as conn:
        await prepare_check(conn)
        yield conn


async def load(conn: Connection, campaign_id: UUID | None = None) -> Compliance:
    return await load_compliance(conn, DAY, campaign_id)


async def violations(conn: Connection, campaign_id: UUID | None = None) -> list[Violation]:
    return await list_violations(conn, DAY, campaign_id, kind=None, most=100)


async def test_campaign_through_the_real_sender_is_clean(
    conn: Connection, database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    provider, settings = WatchedProvider(), make_settings(tmp_path, PROVIDER="simulator")
    async with open_sender(settings, database_url, clock, provider) as sender:
        campaign_id = await start(conn, 50, rate=20, quiet=("21:00", "08:00"))
        for _ in range(20):
            clock.advance(timedelta(milliseconds=500))
            await drive(sender)
    assert len(provider.taken) == 50
    await check(conn, most=7)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.logged, found.missing) == (50, 100, 0)
    assert found.peak <= 20
    assert found.pace_status == "excellent"
    assert await violations(conn) == []
    assert (await load(conn, campaign_id)).campaigns == found
    assert (await load(conn)).oldest_unchecked_at is None


async def test_hand_over_is_put_at_the_moment_its_call_began(
    conn: Connection, database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    async def take_time(message: OutgoingMessage) -> Outcome:
        clock.advance(timedelta(seconds=3))
        return Refused(21211, "no such number")

    provider, settings = WatchedProvider(take_time), make_settings(tmp_path, PROVIDER="simulator")
    async with open_sender(settings, database_url, clock, provider) as sender:
        await start(conn, 1)
        await sender.prepare()
        clock.advance(timedelta(milliseconds=300))  # claimed; its call gets its turn a little later
        await asyncio.wait(sender.calls)
        await drive(sender)
    rows = await conn.execute(
        "SELECT handed_at FROM audit_log a, delivery_of(a.after, a.at) WHERE action = 'compliance.allowed'"
    )
    assert await rows.fetchall() == [(NOON + timedelta(milliseconds=300),)]
    await check(conn)
    assert await violations(conn) == []


async def test_every_try_of_a_message_is_a_hand_over(
    conn: Connection, database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    async def refuse(message: OutgoingMessage) -> Outcome:
        return Postponed(30008, "try again", None)

    provider, settings = WatchedProvider(refuse), make_settings(tmp_path, PROVIDER="simulator")
    async with open_sender(settings, database_url, clock, provider) as sender:
        await start(conn, 1)
        for _ in range(3):
            await drive(sender)
            clock.advance(timedelta(minutes=2))
    await check(conn)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.missing, len(provider.taken)) == (3, 0, 3)
    assert await violations(conn) == []


async def test_consent_bypass_is_found_once(conn: Connection) -> None:
    campaign_id = await start(conn, 3)
    first, second, third = await list_messages(conn, campaign_id)
    await consent(conn, "+14152000001", "stop", NOON - SECOND)
    await consent(conn, "+14152000002", "stop", NOON + SECOND)  # after the hand-over: nothing wrong
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in (first, second, third)))
    await check(conn)
    await check(conn)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.unconsented) == (3, 1)
    [one] = await violations(conn)
    assert (one.kind, one.message_id, one.recipient_phone) == ("consent", second, "+14152000001")
    assert (one.evidence["state"], one.evidence["action"]) == ("STOP", "stop")


async def test_somebody_who_never_opted_in_is_no_proof(conn: Connection) -> None:
    await add_people(conn, 1, NOON)  # the profile says OPT_IN, and the ledger does not know why
    campaign_id = await start(conn)
    [message_id] = await list_messages(conn, campaign_id)
    await hand_over(conn, decision(campaign_id, message_id, NOON))
    await check(conn)
    [one] = await violations(conn)
    assert (one.kind, one.evidence) == ("consent", {"state": "UNKNOWN"})


async def test_stop_learned_of_after_the_hand_over_counts_and_says_so(conn: Connection) -> None:
    campaign_id = await start(conn, 2)
    first, second = await list_messages(conn, campaign_id)
    await hand_over(conn, decision(campaign_id, first, NOON), decision(campaign_id, second, NOON))
    await check(conn)
    assert (await load(conn)).campaigns.unconsented == 0
    late = NOON + timedelta(seconds=5)
    await conn.execute(
        "INSERT INTO consent_ledger (id, phone_e164, occurred_at, recorded_at, action, source, evidence)"
        " VALUES (gen_random_uuid(), '+14152000001', %s, %s, 'stop', 'inbound', 'STOP')",
        (NOON - SECOND, late),
    )
    await check(conn)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.unconsented) == (2, 1)
    [one] = await violations(conn)
    assert one.message_id == second
    assert datetime.fromisoformat(one.evidence["known_at"]) == late
    # What was said before even that takes it back: the person had started again in time.
    await consent(conn, "+14152000001", "start", NOON - timedelta(milliseconds=500))
    await check(conn)
    assert await violations(conn) == []
    assert (await load(conn)).campaigns.unconsented == 0


async def test_hand_over_in_quiet_hours_is_found_once(conn: Connection) -> None:
    campaign_id = await start(conn, 4, quiet=("21:00", "08:00"))
    zones = ("America/New_York", "Asia/Kolkata", None, "Mars/Olympus_Mons")
    for number, zone in enumerate(zones):
        phone = f"+141520000{number:02}"
        await conn.execute("UPDATE users SET timezone = %s WHERE phone_e164 = %s", (zone, phone))
    messages = await list_messages(conn, campaign_id)
    # 15:59 UTC is 10:59 in New York, 21:29 in Kolkata and 07:59 in Los Angeles, where +1 415 is.
    at = datetime(2026, 3, 2, 15, 59, tzinfo=UTC)
    await hand_over(conn, *(decision(campaign_id, one, at) for one in messages))
    await check(conn)
    found = {one.message_id: one for one in await violations(conn)}
    assert {one.kind for one in found.values()} == {"quiet_hours", "zone_unknown"}
    assert [messages.index(one) for one in sorted(found, key=messages.index)] == [1, 2, 3]
    assert found[messages[1]].evidence == {
        "zone": "Asia/Kolkata",
        "clock": "21:29:00",
        "starts": "21:00",
        "ends": "08:00",
    }
    assert found[messages[2]].evidence["clock"] == "07:59:00"
    counted = (await load(conn)).campaigns
    assert (counted.quiet, counted.zone_unknown) == (2, 1)


async def test_quiet_hours_of_a_place_are_those_of_the_moment(conn: Connection) -> None:
    campaign_id = await start(conn, 3)
    messages = await list_messages(conn, campaign_id)
    await conn.execute("UPDATE users SET timezone = 'Etc/UTC'")
    ends = [NOON, NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)]
    strict = QuietRule("1415", NOON.time(), (NOON + timedelta(hours=1)).time(), "test")
    async with transaction(conn):
        await quiet_rules.put_rule(conn, OPERATOR, ends[0] + timedelta(seconds=30), strict)
    async with transaction(conn):
        await quiet_rules.delete_rule(conn, OPERATOR, ends[1] + timedelta(seconds=30), "1415")
    await hand_over(conn, *(decision(campaign_id, one, at) for one, at in zip(messages, ends, strict=True)))
    await check(conn)
    [one] = await violations(conn)
    assert (one.message_id, one.at, one.evidence["ends"]) == (messages[1], ends[1], "13:00")


async def test_second_above_the_limit_is_found_once(conn: Connection) -> None:
    campaign_id = await start(conn, 10, rate=3)
    messages = await list_messages(conn, campaign_id)
    at = NOON + timedelta(milliseconds=100)
    for number, one in enumerate(messages):
        await hand_over(conn, decision(campaign_id, one, at + (SECOND if number >= 6 else 0 * SECOND)))
        await check(conn)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.seconds, found.peak, found.over_limit) == (10, 2, 6, 2)
    assert (found.per_second, found.pace_status) == (5.0, "poor")
    assert [(one.kind, one.at, one.evidence) for one in await violations(conn)] == [
        ("rate", NOON + SECOND, {"handed_over": 4, "limit": 3}),
        ("rate", NOON, {"handed_over": 6, "limit": 3}),
    ]


async def test_missing_decision_and_missing_event_are_found_once(conn: Connection) -> None:
    campaign_id = await start(conn, 3)
    first, second, third = await list_messages(conn, campaign_id)
    await append_own_events(conn, [event_of(decision(campaign_id, first, NOON))])
    await record(conn, COMMAND_LINE, decision(campaign_id, second, NOON))
    await hand_over(conn, decision(campaign_id, third, NOON))
    await check(conn)
    await check(conn)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.logged, found.missing) == (3, 4, 2)
    assert {(one.kind, one.message_id) for one in await violations(conn)} == {
        ("decision_missing", first),
        ("event_missing", second),
    }


async def test_hand_over_without_a_decision_needs_consent_too(conn: Connection) -> None:
    campaign_id = await start(conn, 1)
    [message_id] = await list_messages(conn, campaign_id)
    await append_own_events(conn, [event_of(decision(campaign_id, message_id, NOON))])
    await check(conn)
    await consent(conn, "+14152000000", "stop", NOON - SECOND)  # learned of later
    await check(conn)
    assert sorted(one.kind for one in await violations(conn)) == ["consent", "decision_missing"]


async def test_outcome_that_was_logged_before_is_no_missing_event(conn: Connection) -> None:
    campaign_id = await start(conn, 1)
    [message_id] = await list_messages(conn, campaign_id)
    await hand_over(conn, decision(campaign_id, message_id, NOON))
    await check(conn)
    # Another call of the same message; the log keeps its outcome once.
    await hand_over(conn, decision(campaign_id, message_id, NOON + timedelta(minutes=1)))
    await check(conn)
    assert (await load(conn)).campaigns.handed_over == 2
    assert await violations(conn) == []


async def test_what_the_provider_does_not_have_was_not_handed_over(conn: Connection) -> None:
    campaign_id = await start(conn, 2)
    first, second = await list_messages(conn, campaign_id)
    for one, outcome in ((first, "absent"), (second, "given_up")):
        await record(conn, COMMAND_LINE, decision(campaign_id, one, NOON, outcome))
    await check(conn)
    assert (await load(conn)).campaigns.handed_over == 0


async def test_message_put_off_by_quiet_hours_counts_once(
    conn: Connection, database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    provider, settings = WatchedProvider(), make_settings(tmp_path, PROVIDER="simulator")
    async with open_sender(settings, database_url, clock, provider) as sender:
        await start(conn, 5, quiet=("11:00", "13:00"))
        await drive(sender)
        await conn.execute("UPDATE outbox SET due_at = %s", (clock.now(),))
        clock.advance(timedelta(minutes=1))
        await drive(sender)
    await check(conn)
    found = (await load(conn)).campaigns
    assert (found.rescheduled, found.handed_over, found.per_second, found.pace_status) == (5, 0, None, None)


async def test_replies_are_kept_apart_and_only_answers_to_their_words_go_to_who_has_closed(
    conn: Connection,
) -> None:
    await add_consenting(conn, 3)
    for number, intent in enumerate(("stop", "order", "order")):
        phone, message_id = f"+141520000{number:02}", uuid4()
        await conn.execute(
            "INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)"
            " VALUES (gen_random_uuid(), %s, %s, '+14155238886', 'sms', '?', %s, %s, %s, false)",
            (f"SM{number}", phone, NOON, intent, intent),
        )
        await conn.execute(
            "INSERT INTO messages (id, recipient_phone, channel, sender, queued_at, in_reply_to) VALUES (%s, %s, 'sms', '+14155238886', %s, %s)",
            (message_id, phone, NOON, f"SM{number}"),
        )
        if number < 2:
            await consent(conn, phone, "stop", NOON - SECOND)
        await hand_over(conn, decision(UUID(int=0), message_id, NOON))
    await check(conn)
    found = await load(conn)
    assert found.replies is not None
    assert (found.campaigns.handed_over, found.replies.handed_over, found.replies.unconsented) == (0, 3, 1)
    [one] = await violations(conn)
    assert one.recipient_phone == "+14152000001"


async def test_windows_select_by_the_second_the_call_began_in(conn: Connection) -> None:
    campaign_id = await start(conn, 60)
    messages = await list_messages(conn, campaign_id)
    at = [NOON + timedelta(minutes=7 * number**2, milliseconds=999) for number in range(60)]  # over 17 days
    await hand_over(conn, *(decision(campaign_id, *pair) for pair in zip(messages, at, strict=True)))
    await check(conn, most=9)
    chance = Random(7)
    lengths = [timedelta(seconds=1), timedelta(minutes=20), timedelta(hours=30), timedelta(days=9)]
    for length in lengths * 25:
        since = NOON + timedelta(seconds=round(chance.uniform(-1, 18) * 86_400, chance.choice((0, 3))))
        window = Window(since, since + length * chance.random() + SECOND)
        expected = sum(window.since <= one.replace(microsecond=0) < window.until for one in at)
        assert (await load_compliance(conn, window, None)).campaigns.handed_over == expected, window


async def test_check_that_is_killed_counts_nothing_twice(conn: Connection, database_url: str) -> None:
    campaign_id = await start(conn, 20)
    messages = await list_messages(conn, campaign_id)
    await consent(conn, "+14152000003", "stop", NOON - SECOND)
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in messages))
    async with await connect(database_url, "test") as dying:
        await prepare_check(dying)
        async with transaction(dying):
            await check_next(dying, NOON)
            assert (await load_compliance(dying, DAY, None)).campaigns.handed_over == 20
            await dying.close()  # as a kill would
    assert (await load(conn)).campaigns.handed_over == 0
    await check(conn, most=3)
    found = (await load(conn)).campaigns
    assert (found.handed_over, found.unconsented) == (20, 1)


async def test_transaction_that_commits_late_is_not_skipped(conn: Connection, database_url: str) -> None:
    campaign_id = await start(conn, 2)
    first, second = await list_messages(conn, campaign_id)
    async with await connect(database_url, "test") as slow, transaction(slow):
        await record(slow, COMMAND_LINE, decision(campaign_id, first, NOON))
        await append_own_events(slow, [event_of(decision(campaign_id, first, NOON))])
        await hand_over(conn, decision(campaign_id, second, NOON))
        async with transaction(conn):
            await check_next(conn, NOON)
        assert (await load(conn)).campaigns.handed_over == 0
        assert (await load(conn)).oldest_unchecked_at is not None
    await check(conn)
    assert (await load(conn)).campaigns.handed_over == 2
    assert await violations(conn) == []


async def test_of_two_workers_one_checks(conn: Connection, database_url: str, clock: SettableClock) -> None:
    campaign_id = await start(conn, 30)
    stopping = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(run_checker(database_url, clock, stopping))
        for one in await list_messages(conn, campaign_id):
            await hand_over(conn, decision(campaign_id, one, NOON))
        while (await load(conn)).campaigns.handed_over < 30:
            await asyncio.sleep(0.05)
        stopping.set()
    assert (await load(conn)).campaigns.handed_over == 30


async def test_pages_of_violations_hold_each_once(conn: Connection) -> None:
    await add_people(conn, 9, NOON)
    campaign_id = await start(conn)
    messages = await list_messages(conn, campaign_id)
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in messages))
    await check(conn)
    seen: list[Violation] = []
    while page := await list_violations(
        conn, DAY, campaign_id, kind="consent", most=4, before=(seen[-1].at, seen[-1].id) if seen else None
    ):
        seen += page
    assert sorted(one.message_id for one in seen) == sorted(messages)
    for kind in KINDS[1:]:
        assert await list_violations(conn, DAY, campaign_id, kind=kind, most=4) == []


async def test_unknown_campaign_is_told(conn: Connection) -> None:
    with pytest.raises(NotFound):
        await load(conn, uuid4())


async def test_recheck_finds_what_was_removed_after_the_check(conn: Connection, database_url: str) -> None:
    campaign_id = await start(conn, 6)
    messages = await list_messages(conn, campaign_id)
    entries = [decision(campaign_id, one, NOON + number * SECOND) for number, one in enumerate(messages)]
    await hand_over(conn, *entries)
    await project_all(database_url)
    await check(conn)
    assert await violations(conn) == []
    key = event_of(entries[0]).dedupe_key
    await conn.execute("DELETE FROM events WHERE dedupe_key = %s", (key,))
    await conn.execute("DELETE FROM consent_ledger WHERE phone_e164 = '+14152000001'")
    await conn.execute("ALTER TABLE audit_log DISABLE TRIGGER audit_log_is_append_only")
    await conn.execute("DELETE FROM audit_log WHERE subject = %s", (f"message:{messages[2]}",))
    for _ in range(2):
        async with transaction(conn):
            assert await recheck_window(conn, OPERATOR, DAY, NOON) == 6
        found = (await load(conn)).campaigns
        assert (found.handed_over, found.seconds, found.unconsented, found.missing) == (6, 6, 1, 2)
        assert [(one.kind, one.message_id) for one in await violations(conn)] == [
            ("decision_missing", messages[2]),
            ("consent", messages[1]),
            ("event_missing", messages[0]),
        ]


async def test_recheck_of_too_much_says_what_to_do(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compliance_check, "MOST_RECHECKED", 2)
    campaign_id = await start(conn, 3)
    messages = await list_messages(conn, campaign_id)
    await hand_over(conn, *(decision(campaign_id, one, NOON) for one in messages))
    await check(conn)
    with pytest.raises(Invalid, match="shorter"):
        async with transaction(conn):
            await recheck_window(conn, OPERATOR, DAY, NOON)


async def test_call_of_a_worker_that_died_is_put_into_its_second_once_it_is_found_out(
    conn: Connection, database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    provider, settings = WatchedProvider(), make_settings(tmp_path, PROVIDER="simulator")
    async with open_sender(settings, database_url, clock, provider) as sender:
        campaign_id = await start(conn, 1)
        await sender.prepare()
        await asyncio.wait(sender.calls)  # and nobody is left to write it down
    clock.advance(timedelta(hours=1))
    async with transaction(conn):
        assert await reconciliation.expire_leases(conn, clock.now()) == 1
    await check(conn)
    assert (await load(conn)).campaigns.handed_over == 0
    [unsure] = await reconciliation.list_unsure(conn, clock.now(), None, timedelta(0))
    async with transaction(conn):
        assert await reconciliation.settle_found(conn, unsure, "SM1", "delivered", clock.now())
    await check(conn)
    first_second = Window(NOON, NOON + SECOND)
    assert (await load_compliance(conn, first_second, campaign_id)).campaigns.handed_over == 1
    assert await violations(conn) == []


async def test_proof_outlives_an_erasure_and_names_nobody(conn: Connection, database_url: str) -> None:
    campaign_id = await start(conn, 2)
    first, second = await list_messages(conn, campaign_id)
    await hand_over(conn, decision(campaign_id, first, NOON))
    await consent(conn, "+14152000001", "stop", NOON - SECOND)
    await hand_over(conn, decision(campaign_id, second, NOON))
    await project_all(database_url)
    await check(conn)
    for number in (0, 1):
        async with transaction(conn):
            await erase_person(conn, OPERATOR, LIVE.secret_key or "", f"+1415200000{number}", NOON)
    async with transaction(conn):
        await recheck_window(conn, OPERATOR, DAY, NOON)
    [one] = await violations(conn)
    assert one.message_id == second
    assert one.recipient_phone is not None
    assert one.recipient_phone.startswith("+999")
    rows = await conn.execute("SELECT count(*) FROM compliance_violations v WHERE v::text LIKE '%2000001%'")
    assert await rows.fetchone() == (0,)


async def test_after_a_restore_into_another_cluster_the_check_goes_on(
    conn: Connection, database_url: str
) -> None:
    campaign_id = await start(conn, 4)
    first, second, third, _ = await list_messages(conn, campaign_id)
    await hand_over(conn, decision(campaign_id, first, NOON), decision(campaign_id, second, NOON))
    await check(conn)
    await pretend_restore(conn)
    await run_after_restore(database_url)
    await hand_over(conn, decision(campaign_id, third, NOON))
    await check(conn)
    assert (await load(conn)).campaigns.handed_over == 3
    await consent(conn, "+14152000001", "stop", NOON - SECOND)  # of before the restore, learned of after it
    await check(conn)
    assert [one.message_id for one in await violations(conn)] == [second]
