"""What nobody told is found out with the provider, and never guessed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from event_stream_engine.infra.database import Connection, connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import NotFound, Unavailable
from event_stream_engine.messaging.provider import Outcome, OutgoingMessage, ProviderMessage, Unknown
from event_stream_engine.worker.reconciler import reconcile
from event_stream_engine.worker.sender import open_sender
from tests.db.test_sender import drive
from tests.engine import make_settings, project_all
from tests.sending import SENDER, WatchedProvider, add_campaign, add_people, count, fill_outbox

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@dataclass(slots=True)
class ListingProvider:
    """Has the messages a test gives it."""

    messages: list[ProviderMessage] = field(default_factory=list)
    is_away: bool = False

    async def load_message(self, sid: str) -> ProviderMessage:
        for message in self.messages:
            if message.sid == sid:
                return message
        raise NotFound(sid)

    async def list_messages(self, recipient: str, sent_on: date) -> list[ProviderMessage]:
        if self.is_away:
            raise Unavailable("The provider is away.")
        return [
            one for one in self.messages if one.recipient == recipient and one.created_at.date() == sent_on
        ]  # type: ignore[union-attr]


def make_listed(message: OutgoingMessage, sid: str, at: datetime, status: str = "queued") -> ProviderMessage:
    at = at.replace(microsecond=0)
    return ProviderMessage(sid, status, None, message.recipient_phone, SENDER, message.body, at, None, at)


async def hand_over_unanswered(
    conn: Connection, url: str, folder: Path, clock: SettableClock, people: int
) -> Sequence[OutgoingMessage]:
    """Hand messages over whose calls end without an answer, and return them."""

    async def hang_up(message: OutgoingMessage) -> Outcome:
        return Unknown("ServerDisconnectedError")

    provider = WatchedProvider(hang_up)
    await add_people(conn, people, clock.now())
    await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
    settings = make_settings(folder, PROVIDER="simulator")
    async with open_sender(settings, url, clock, provider) as sender:
        while len(provider.taken) < people:
            clock.advance(timedelta(seconds=1))
            sender.most_calls = people
            await drive(sender)
    return provider.taken


async def test_unanswered_message_is_taken_over_when_the_provider_has_it(
    database_url: str, tmp_path: Path
) -> None:
    clock, provider = SettableClock(NOON), ListingProvider()
    async with await connect(database_url, "test") as conn:
        (first, second) = await hand_over_unanswered(conn, database_url, tmp_path, clock, 2)
        provider.messages = [
            make_listed(first, "SMfirst", clock.now(), "delivered"),
            # Not these: other words, another sender, long before.
            replace(make_listed(second, "SMwords", clock.now()), body="other words"),
            replace(make_listed(second, "SMsender", clock.now()), sender="+14155550199"),
            make_listed(second, "SMbefore", clock.now() - timedelta(hours=2)),
        ]
        clock.advance(timedelta(seconds=30))
        counts = await reconcile(conn, provider, clock)
        assert (counts.unsure, counts.found, counts.requeued) == (
            2,
            1,
            0,
        )  # too early to say that one is absent
        await project_all(database_url)
        rows = await (
            await conn.execute("SELECT provider_sid, status FROM messages ORDER BY provider_sid")
        ).fetchall()
        assert rows == [("SMfirst", "DELIVERED"), (None, "UNKNOWN")]


async def test_message_the_provider_does_not_have_waits_again_after_the_grace(
    database_url: str, tmp_path: Path
) -> None:
    clock, provider = SettableClock(NOON), ListingProvider(is_away=True)
    async with await connect(database_url, "test") as conn:
        await hand_over_unanswered(conn, database_url, tmp_path, clock, 1)
        clock.advance(timedelta(minutes=3))
        counts = await reconcile(conn, provider, clock)
        assert counts.requeued == 0  # nobody could be asked, so nothing is known
        assert await count(database_url, "SELECT count(*) FROM reconciliations WHERE error IS NOT NULL") == 1
        provider.is_away = False
        assert (await reconcile(conn, provider, clock)).requeued == 1
        await project_all(database_url)
        assert await (await conn.execute("SELECT status FROM messages")).fetchall() == [("PENDING",)]
        assert (
            await count(
                database_url, "SELECT count(*) FROM outbox WHERE unsure_since IS NULL AND claimed_by IS NULL"
            )
            == 1
        )


async def test_message_whose_worker_may_still_call_is_not_sent_again(
    database_url: str, tmp_path: Path
) -> None:
    clock, provider = SettableClock(NOON), ListingProvider()
    async with await connect(database_url, "test") as conn, await connect(database_url, "sleeper") as sleeper:
        (message,) = await hand_over_unanswered(conn, database_url, tmp_path, clock, 1)
        await sleeper.execute("SELECT pg_advisory_lock_shared(person_lock(%s))", (message.recipient_phone,))
        clock.advance(timedelta(minutes=10))
        assert (await reconcile(conn, provider, clock)).requeued == 0
        await sleeper.execute("SELECT pg_advisory_unlock_all()")
        assert (await reconcile(conn, provider, clock)).requeued == 1


async def test_message_of_which_a_callback_told_needs_no_question(database_url: str, tmp_path: Path) -> None:
    clock, provider = SettableClock(NOON), ListingProvider(is_away=True)
    async with await connect(database_url, "test") as conn:
        await hand_over_unanswered(conn, database_url, tmp_path, clock, 1)
        await conn.execute("UPDATE messages SET provider_sid = 'SMtold'")
        clock.advance(timedelta(seconds=30))
        assert (await reconcile(conn, provider, clock)).found == 1
        assert await count(database_url, "SELECT count(*) FROM outbox") == 0


async def test_lost_callback_is_made_up_for(database_url: str, tmp_path: Path) -> None:
    clock, provider, calls = SettableClock(NOON), ListingProvider(), WatchedProvider()
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 3, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now()), clock.now())
        settings = make_settings(tmp_path, PROVIDER="simulator")
        async with open_sender(settings, database_url, clock, calls) as sender:
            while len(calls.taken) < 3:
                await drive(sender)
                clock.advance(timedelta(seconds=1))
        await project_all(database_url)
        sids = [f"SM{message.message_id.hex}" for message in calls.taken]
        told_at = NOON + timedelta(minutes=1)
        provider.messages = [
            make_listed(message, sid, told_at, status)
            for message, sid, status in zip(
                calls.taken, sids, ("delivered", "undelivered", "queued"), strict=True
            )
        ]
        clock.set(NOON + timedelta(minutes=20))
        counts = await reconcile(conn, provider, clock)
        assert (counts.silent, counts.closed) == (3, 2)
        assert (
            await reconcile(conn, provider, clock)
        ).silent == 0  # asked for at some ages, not all the time
        await project_all(database_url)
        rows = await (
            await conn.execute("SELECT status, delivered_at FROM messages ORDER BY status")
        ).fetchall()
        assert rows == [("DELIVERED", told_at), ("QUEUED", None), ("UNDELIVERED", None)]
