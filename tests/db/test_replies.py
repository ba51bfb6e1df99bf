"""Answers sent by themselves: who gets one, who does not, and how often."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns import replies
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.ingest.projection import Live
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid, NotFound
from event_stream_engine.messaging import outcomes
from event_stream_engine.stream.log import append_events, append_own_events
from event_stream_engine.worker.projector import open_projector, run_once

ME = Actor("operator:1")
ANN, BEN = "+14155550001", "+14155550002"


class Desk:
    """Takes inbound messages and shows the replies that wait."""

    def __init__(self, conn: Connection, projector: Connection, clock: SettableClock) -> None:
        self.conn, self._projector, self.clock = conn, projector, clock
        self._live = Live("a secret key of tests, 32 letters and more", clock)
        self._number = 0

    async def hear(
        self, *said: tuple[str, str], at: datetime | None = None, is_live: bool = True, **extra: str
    ) -> None:
        events = []
        for sender, body in said:
            self._number += 1
            form = {
                "MessageSid": f"SM{self._number:032x}",
                "From": sender,
                "To": "+14155238886",
                "Body": body,
            }
            events.append(make_event("inbound", form | extra, at or self.clock.now(), None))
        await append_events(self.conn, events, source=uuid4(), counted_at=self.clock.now(), is_live=is_live)
        while not await run_once(self._projector, self._live):
            pass

    async def waiting(self) -> list[tuple[str, str]]:
        found = await self.conn.execute(
            "SELECT recipient_phone, body FROM outbox ORDER BY due_at, recipient_phone"
        )
        return [(phone, body.split()[0]) for phone, body in await found.fetchall()]

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return await (await self.conn.execute(query)).fetchall()  # type: ignore[arg-type]


@pytest.fixture
async def desk(database_url: str, clock: SettableClock) -> Any:
    async with await connect(database_url, "test") as conn, await open_projector(database_url) as projector:
        yield Desk(conn, projector, clock)


async def test_stop_help_and_start_are_answered_from_the_number_they_wrote_to(desk: Desk) -> None:
    await desk.hear((ANN, "STOP"))
    await desk.hear((BEN, "help"))
    desk.clock.advance(timedelta(minutes=1))
    await desk.hear((ANN, "start"))
    assert await desk.waiting() == [(ANN, "You"), (BEN, "You"), (ANN, "You")]
    queued = await desk.rows(
        "SELECT DISTINCT sender, channel, campaign_id, status, country FROM messages WHERE in_reply_to IS NOT NULL"
    )
    assert queued == [("+14155238886", "sms", None, "PENDING", "US")]


async def test_a_second_stop_gets_no_second_confirmation_and_a_start_without_stop_none(desk: Desk) -> None:
    await desk.hear((ANN, "STOP"), (ANN, "stop"), (BEN, "START"))
    desk.clock.advance(timedelta(seconds=1))
    await desk.hear((ANN, "Unsubscribe"))
    assert await desk.waiting() == [(ANN, "You")]


async def test_what_twilio_has_answered_gets_no_answer_of_ours(desk: Desk) -> None:
    await desk.hear((ANN, "STOP"), OptOutType="STOP")
    assert await desk.waiting() == []
    assert await desk.rows("SELECT consent_state FROM users") == [("STOP",)]


async def test_a_person_is_answered_once_in_the_rules_pause(desk: Desk) -> None:
    await desk.hear((ANN, "help"), (ANN, "INFO"), (BEN, "help"))
    desk.clock.advance(timedelta(minutes=59))
    await desk.hear((ANN, "help"))
    assert await desk.waiting() == [(ANN, "You"), (BEN, "You")]
    desk.clock.advance(timedelta(minutes=1))
    await desk.hear((ANN, "help"))
    assert [phone for phone, _ in await desk.waiting()] == [ANN, BEN, ANN]


async def test_old_and_imported_messages_are_not_answered(desk: Desk) -> None:
    await desk.hear((ANN, "help"), at=desk.clock.now() - timedelta(minutes=6))
    await desk.hear((BEN, "help"), is_live=False)
    assert await desk.waiting() == []


async def test_a_rule_with_words_goes_before_the_rule_of_the_intent(desk: Desk) -> None:
    async with transaction(desk.conn):
        for words, body in ((["opening  Hours"], "Nine to five"), ([], "Thanks")):
            await replies.create_rule(
                desk.conn,
                ME,
                desk.clock.now(),
                intent="general",
                words=words,
                body=body,
                per_person_minutes=0,
                is_enabled=True,
            )
    await desk.hear((ANN, " Opening hours "), (BEN, "hello"))
    assert await desk.waiting() == [(ANN, "Nine"), (BEN, "Thanks")]


async def test_an_inbound_message_counts_as_answered_when_the_provider_took_the_reply(desk: Desk) -> None:
    await desk.hear((ANN, "help"))
    counted = "SELECT sum(auto_replied)::int FROM inbound_rollups WHERE grain = 'minute'"
    assert await desk.rows(counted) == [(0,)]
    (row,) = await desk.rows("SELECT message_id FROM outbox")
    message_id: UUID = row[0]
    await append_own_events(desk.conn, [outcomes.accepted(message_id, desk.clock.now(), "SM9", "queued")])
    await desk.hear((BEN, "hello"))
    assert await desk.rows(counted) == [(1,)]
    assert await desk.rows("SELECT from_phone FROM inbound_events WHERE is_auto_replied") == [(ANN,)]


async def test_a_disabled_rule_answers_nobody_and_a_deleted_one_is_gone(desk: Desk) -> None:
    now = desk.clock.now()
    async with transaction(desk.conn):
        rule = next(rule for rule in await replies.list_rules(desk.conn) if rule.intent == "help")
        await replies.change_rule(
            desk.conn,
            ME,
            now,
            rule.id,
            intent="help",
            words=[],
            body=rule.body,
            per_person_minutes=0,
            is_enabled=False,
        )
    await desk.hear((ANN, "help"))
    assert await desk.waiting() == []
    async with transaction(desk.conn):
        await replies.delete_rule(desk.conn, ME, now, rule.id)
    with pytest.raises(NotFound):
        await replies.load_rule(desk.conn, rule.id)
    told = await desk.rows("SELECT action FROM audit_log ORDER BY id")
    assert told == [("reply_rule.changed",), ("reply_rule.deleted",)]


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("intent", {"intent": "shout"}),
        ("body", {"body": "  "}),
        ("body", {"body": "x" * 1601}),
        ("per_person_minutes", {"per_person_minutes": -1}),
        ("words", {"words": [" "]}),
    ],
)
async def test_a_wrong_rule_is_refused_with_its_field(
    desk: Desk, field: str, changes: dict[str, Any]
) -> None:
    rule = {
        "intent": "help",
        "words": [],
        "body": "hi",
        "per_person_minutes": 0,
        "is_enabled": True,
    } | changes
    with pytest.raises(Invalid) as refused:
        await replies.create_rule(desk.conn, ME, desk.clock.now(), **rule)
    assert refused.value.field == field
