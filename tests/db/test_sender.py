"""The sender on a real database, against a provider whose calls the test sees."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from event_stream_engine.campaigns import campaigns
from event_stream_engine.campaigns.outbox import LEASE
from event_stream_engine.campaigns.recording import MOST_ATTEMPTS
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock, SystemClock
from event_stream_engine.messaging.provider import Outcome, OutgoingMessage, Postponed, Refused, Unknown
from event_stream_engine.worker.sender import Sender, open_sender
from tests.engine import make_settings, project_all
from tests.sending import (
    OPERATOR,
    WatchedProvider,
    add_campaign,
    add_people,
    count,
    fill_outbox,
    send_all,
)


async def test_everybody_with_consent_gets_one_message(database_url: str, tmp_path: Path) -> None:
    clock, provider = SystemClock(), WatchedProvider()
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 500, clock.now())
        await add_people(conn, 20, clock.now(), first=1000, state="STOP")
        campaign_id = await add_campaign(conn, clock.now(), rate=10_000)
        assert await fill_outbox(conn, campaign_id, clock.now()) == 520
    await send_all(database_url, tmp_path, provider, clock)
    assert len({message.recipient_phone for message in provider.taken}) == len(provider.taken) == 500
    async with await connect(database_url, "test") as conn:
        rows = await (
            await conn.execute("SELECT action, after FROM audit_log WHERE action LIKE 'compliance.%'")
        ).fetchall()
    print(rows[0], rows[-1])
    assert sorted(action for action, _ in rows) == ["compliance.allowed"] * 500 + ["compliance.denied"] * 20


async def test_campaign_waits_for_the_end_of_quiet_hours_and_goes_on(
    database_url: str, tmp_path: Path
) -> None:
    clock, provider = SettableClock(datetime(2026, 3, 2, 20, 59, 30, tzinfo=UTC)), WatchedProvider()
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 60, clock.now())
        campaign_id = await add_campaign(conn, clock.now(), rate=20, quiet=("21:00", "08:00"))
        await fill_outbox(conn, campaign_id, clock.now())

        async def send(seconds: int) -> None:
            for _ in range(seconds * 2):
                clock.advance(timedelta(milliseconds=500))
                await drive(sender)

        await send(1)
        assert 0 < len(provider.taken) < 60
        assert all(
            message.validity_seconds <= 30 for message in provider.taken
        )  # the provider's queue holds none longer
        before = len(provider.taken)
        clock.set(datetime(2026, 3, 2, 21, 0, tzinfo=UTC))
        await send(10)
        assert len(provider.taken) == before
        due = await (await conn.execute("SELECT due_at, defer_reason FROM outbox")).fetchall()
        opening = datetime(2026, 3, 3, 8, tzinfo=UTC)
        assert {reason for _, reason in due} == {"quiet_hours"}
        assert all(opening <= at <= opening + timedelta(minutes=15) for at, _ in due)
        assert len({at for at, _ in due}) == len(due)  # spread, not all at once

        for minute in range(17):
            clock.set(opening + timedelta(minutes=minute))
            await send(2)
        assert len({message.recipient_phone for message in provider.taken}) == len(provider.taken) == 60
        rows = await conn.execute(
            "SELECT count(DISTINCT subject) FILTER (WHERE action = 'compliance.deferred'), count(*) FILTER (WHERE action = 'compliance.allowed') FROM audit_log"
        )
        assert await rows.fetchone() == (60 - before, 60)


async def drive(sender: Sender) -> None:
    """Claim once, let the calls end and record what came of them."""
    await sender.prepare()
    while sender.calls:
        await asyncio.wait(sender.calls)
    answers = []
    while not sender.answers.empty():
        if (answer := sender.answers.get_nowait()) is not None:
            answers.append(answer)
    if answers:
        await sender.record(answers)
    await sender.let_people_go()


async def test_transient_failures_are_tried_again_later_and_at_last_given_up(
    database_url: str, tmp_path: Path
) -> None:
    async def refuse(message: OutgoingMessage) -> Outcome:
        return Postponed(30008, "try again", None)

    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider(refuse)
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 1, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
        waits = []
        while row := await (await conn.execute("SELECT due_at, attempts FROM outbox")).fetchone():
            clock.set(
                max(clock.now() + timedelta(seconds=0.7), row[0])
            )  # not always at a second's closed end
            if row[0] not in waits:  # a claim whose second was over before its call began comes once more
                waits.append(row[0])
            await drive(sender)
        assert len(provider.taken) == MOST_ATTEMPTS
        gaps = [later - earlier for earlier, later in pairwise(waits)]
        assert gaps[-1] > gaps[0]
        await project_all(database_url)
        assert await (await conn.execute("SELECT status, error_code FROM messages")).fetchall() == [
            ("FAILED", 30008)
        ]


async def test_pause_the_provider_asked_for_holds_for_every_worker(database_url: str, tmp_path: Path) -> None:
    async def refuse(message: OutgoingMessage) -> Outcome:
        return Postponed(20429, "too many requests", 30.0)

    clock, provider, other = (
        SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)),
        WatchedProvider(refuse),
        WatchedProvider(),
    )
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
        open_sender(settings, database_url, clock, other) as second,
    ):
        await add_people(conn, 50, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now(), rate=10), clock.now())
        await drive(sender)
        assert len(provider.taken) == 1
        for _ in range(29):
            clock.advance(timedelta(seconds=1))
            await drive(second)
        assert other.taken == []
        clock.advance(timedelta(seconds=2))
        await drive(second)
        assert other.taken
        assert (
            await count(database_url, "SELECT max(attempts) FROM outbox") == 0
        )  # nobody's fault, so nobody's attempt


async def test_person_the_provider_knows_as_opted_out_is_stopped_here(
    database_url: str, tmp_path: Path
) -> None:
    async def refuse(message: OutgoingMessage) -> Outcome:
        return Refused(21610, "unsubscribed")

    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider(refuse)
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 1, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
        await sender.prepare()
        await asyncio.wait(sender.calls)
        await sender.let_people_go()
        await sender.record([answer for answer in [sender.answers.get_nowait()] if answer])
        assert await (await conn.execute("SELECT consent_state FROM users")).fetchall() == [("STOP",)]
        assert await (await conn.execute("SELECT source, evidence FROM consent_ledger")).fetchall() == [
            ("provider", "error 21610")
        ]
        await project_all(database_url)
        assert await (await conn.execute("SELECT status, error_code FROM messages")).fetchall() == [
            ("FAILED", 21610)
        ]


async def test_pausing_stops_claims_at_once_and_resuming_goes_on(database_url: str, tmp_path: Path) -> None:
    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider()
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 5, clock.now())
        campaign_id = await add_campaign(conn, clock.now(), rate=1)
        await fill_outbox(conn, campaign_id, clock.now())
        await drive(sender)
        async with transaction(conn):
            await campaigns.pause_campaign(conn, OPERATOR, campaign_id, clock.now())
        for _ in range(5):
            clock.advance(timedelta(seconds=1))
            await drive(sender)
        assert len(provider.taken) == 1
        async with transaction(conn):
            await campaigns.resume_campaign(conn, OPERATOR, campaign_id, clock.now())
        for _ in range(5):
            clock.advance(timedelta(seconds=1))
            await drive(sender)
        assert len(provider.taken) == 5


async def test_call_that_has_no_answer_leaves_the_message_unknown_and_not_due(
    database_url: str, tmp_path: Path
) -> None:
    async def hang_up(message: OutgoingMessage) -> Outcome:
        return Unknown("ServerDisconnectedError")

    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider(hang_up)
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 1, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
        for _ in range(3):
            await drive(sender)
            clock.advance(timedelta(minutes=10))
        assert len(provider.taken) == 1
        await project_all(database_url)
        assert await (await conn.execute("SELECT status FROM messages")).fetchall() == [("UNKNOWN",)]


async def test_sleeper_that_wakes_after_its_lease_begins_no_call(database_url: str, tmp_path: Path) -> None:
    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider()
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 1, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
        await sender.prepare()  # claimed; its call has yet to get its turn
        clock.advance(LEASE)
        await asyncio.wait(sender.calls)
        assert provider.taken == []
        assert sender.answers.empty()


async def test_reply_goes_to_a_person_who_stopped_only_when_it_answers_their_stop_help_or_start(
    database_url: str, tmp_path: Path
) -> None:
    clock, provider = SettableClock(datetime(2026, 3, 2, 3, tzinfo=UTC)), WatchedProvider()  # at night, too
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        for number, (intent, state) in enumerate(
            [("stop", "STOP"), ("help", "STOP"), ("start", "OPT_IN"), ("order", "STOP"), ("order", "OPT_IN")]
        ):
            await add_people(conn, 1, clock.now(), first=number, state=state)
            await conn.execute(
                """
                WITH asked AS (
                    INSERT INTO inbound_events (id, message_sid, from_phone, to_phone, channel, body, received_at, keyword, intent, is_immediate)
                    VALUES (gen_random_uuid(), %(sid)s, %(phone)s, '+14155238886', 'sms', '?', %(now)s, %(intent)s, %(intent)s, false)
                    RETURNING message_sid
                ), queued AS (
                    INSERT INTO messages (id, recipient_phone, channel, sender, queued_at, in_reply_to)
                    SELECT gen_random_uuid(), %(phone)s, 'sms', '+14155238886', %(now)s, message_sid FROM asked
                    RETURNING id
                )
                INSERT INTO outbox (message_id, recipient_phone, due_at, body) SELECT id, %(phone)s, %(now)s, %(body)s FROM queued
                """,
                {
                    "sid": f"SM{number}",
                    "phone": f"+1415{2000000 + number}",
                    "now": clock.now(),
                    "intent": intent,
                    "body": f"{intent} to {state}",
                },
            )
        await drive(sender)
        assert {message.body for message in provider.taken} == {
            "stop to STOP",
            "help to STOP",
            "start to OPT_IN",
            "order to OPT_IN",
        }
        decisions = await conn.execute(
            "SELECT after ->> 'outcome', after ->> 'evidence', after ->> 'reason' FROM audit_log ORDER BY 2"
        )
        assert await decisions.fetchall() == [
            ("allowed", "SM0", None),
            ("allowed", "SM1", None),
            ("allowed", "SM2", None),
            ("denied", "SM3", "consent_stop"),
            ("allowed", "SM4", None),
        ]


async def test_content_that_must_not_go_is_denied_with_its_reason(database_url: str, tmp_path: Path) -> None:
    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider()
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await conn.execute(
            "INSERT INTO prohibited_words (word, created_at) VALUES ('free money', %s)", (clock.now(),)
        )
        await add_people(conn, 1, clock.now())
        for body, channel in (
            ("Hi {surname}", "sms"),
            ("FREE  money!", "sms"),
            ("Hi", "whatsapp"),
            ("{name}" + "a" * 1600, "sms"),
        ):
            campaign_id = await add_campaign(conn, clock.now(), body=body, channel=channel)
            await fill_outbox(conn, campaign_id, clock.now())
        await drive(sender)
        assert provider.taken == []
        reasons = await conn.execute(
            "SELECT after ->> 'reason' FROM audit_log WHERE action = 'compliance.denied' ORDER BY 1"
        )
        assert [row[0] for row in await reasons.fetchall()] == [
            "placeholder_missing",
            "prohibited_word",
            "too_long",
            "whatsapp_window_closed",
        ]
        assert (
            await count(database_url, "SELECT coalesce(sum(taken), 0) FROM pace") == 0
        )  # no token was used up


async def test_call_that_gets_its_turn_after_its_second_does_not_begin(
    database_url: str, tmp_path: Path
) -> None:
    clock, provider = SettableClock(datetime(2026, 3, 2, 12, tzinfo=UTC)), WatchedProvider()
    settings = make_settings(tmp_path, PROVIDER="simulator")
    async with (
        await connect(database_url, "test") as conn,
        open_sender(settings, database_url, clock, provider) as sender,
    ):
        await add_people(conn, 1, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
        await sender.prepare()
        clock.advance(timedelta(seconds=1))
        await asyncio.wait(sender.calls)
        assert provider.taken == []
        await drive(sender)  # records it, too late to claim it once more
        assert await (await conn.execute("SELECT attempts, claimed_by FROM outbox")).fetchall() == [(0, None)]
        assert (
            await count(database_url, "SELECT count(*) FROM audit_log WHERE action LIKE 'compliance.%%'") == 0
        )
        await drive(sender)
        assert len(provider.taken) == 1
