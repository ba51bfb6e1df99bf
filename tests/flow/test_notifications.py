"""Notices on their way to real receivers: up, down, hanging, refusing; and two notifiers at once."""

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict
from event_stream_engine.notifications import channels, deliveries, outbox
from event_stream_engine.notifications.routes import Route, replace_routes
from event_stream_engine.worker.notifier import Notifier
from tests.db.test_outbox_of_notices import make_notice
from tests.engine import make_settings
from tests.receivers import (
    ME,
    add_channel,
    deliver_all,
    find_free_port,
    list_alerts,
    running_alertmanager,
    running_mail_server,
    running_receiver,
)


class Desk:
    """Queues notices and lets a notifier run, by a clock that stands still."""

    def __init__(self, url: str, settings: Settings, clock: SettableClock) -> None:
        self.url, self.settings, self.clock = url, settings, clock

    async def add(self, name: str, target: str, kind: str = "apprise") -> UUID:
        return await add_channel(self.url, self.settings, self.clock, name, target, kind=kind)

    async def queue(self, kind: str = "alert.fired", **changes: Any) -> None:
        async with await connect(self.url, "test") as conn, transaction(conn):
            await outbox.queue(conn, [make_notice(kind, **{"at": self.clock.now()} | changes)])

    async def route(self, *routes: Route) -> None:
        async with await connect(self.url, "test") as conn, transaction(conn):
            await replace_routes(conn, ME, self.clock.now(), routes)

    async def deliver(self, after_seconds: float = 0) -> None:
        self.clock.advance(timedelta(seconds=after_seconds))
        await deliver_all(self.url, self.settings, self.clock)

    async def history(self) -> list[tuple[str, str, str, int]]:
        """Return channel, kind, state and number of attempts, oldest first."""
        async with await connect(self.url, "test") as conn:
            found = await deliveries.list_deliveries(conn, most=100)
        return [(one.channel_name, one.kind, one.state, one.attempts) for one in reversed(found)]

    async def answer(self) -> str | None:
        """Return what the newest delivery's last attempt was answered."""
        async with await connect(self.url, "test") as conn:
            return (await deliveries.list_deliveries(conn, most=1))[0].last_answer


@pytest.fixture
def desk(database_url: str, tmp_path: Path, clock: SettableClock) -> Desk:
    return Desk(database_url, make_settings(tmp_path, PRIVATE_TARGETS="127.0.0.0/8"), clock)


async def test_webhook_gets_title_text_facts_and_link(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        await desk.add("hook", receiver.url)
        await desk.queue()
        await desk.deliver()
        await desk.deliver(3600)
    (message,) = receiver.got
    assert message["title"] == "Campaign delivery rate below threshold"
    assert "Value: 88.5 %" in message["message"]
    assert f"{desk.settings.public_url}/alerts/ALT001" in message["message"]
    assert message["type"] == "warning"
    assert await desk.history() == [("hook", "alert.fired", "delivered", 1)]


async def test_mail_arrives_also_after_the_server_was_down(desk: Desk, free_port: int) -> None:
    await desk.add("mail", f"mailto://127.0.0.1:{free_port}/?from=engine@example.com&to=oncall@example.com")
    await desk.queue()
    await desk.deliver()
    assert await desk.history() == [("mail", "alert.fired", "waiting", 1)]
    async with running_mail_server(free_port) as letters:
        await desk.deliver(7)
    (letter,) = letters
    assert "To: oncall@example.com" in letter
    assert "Campaign delivery rate below threshold" in letter
    assert "\nCampaign: Spring sale\nValue: 88.5 %\n" in letter.replace("\r\n", "\n")  # its lines stay lines
    assert await desk.history() == [("mail", "alert.fired", "delivered", 2)]


async def test_alertmanager_shows_the_alert_while_it_fires_and_no_longer_once_it_is_resolved(
    desk: Desk, free_port: int, tmp_path: Path
) -> None:
    # Alertmanager goes by its own clock.
    desk.clock.set(datetime.now(desk.clock.now().tzinfo))
    address = f"http://127.0.0.1:{free_port}"
    await desk.add("am", address, "alertmanager")
    episode = uuid4()
    await desk.queue(episode=episode)
    await desk.deliver()
    assert await desk.history() == [("am", "alert.fired", "waiting", 1)]
    async with running_alertmanager(free_port, tmp_path / "am"):
        await desk.deliver(7)
        (alert,) = await list_alerts(address)
        assert alert["labels"] == {
            "alertname": "Campaign delivery rate below threshold",
            "severity": "warning",
            "episode": str(episode),
            "rule": "delivery_rate",
            "campaign": "spring",
        }
        assert alert["annotations"]["Value"] == "88.5 %"
        assert alert["generatorURL"] == f"{desk.settings.public_url}/alerts/ALT001"
        await desk.deliver(61)
        (again,) = await list_alerts(address)
        assert again["updatedAt"] > alert["updatedAt"]
        assert again["endsAt"] > alert["endsAt"]
        assert again["startsAt"] == alert["startsAt"]
        # Its labels are those of the beginning, or Alertmanager would not know which alert has ended.
        await desk.queue(
            "alert.resolved",
            episode=episode,
            title="Delivery rate is back",
            severity="info",
            at=datetime.now(desk.clock.now().tzinfo),
        )
        await desk.deliver()
        assert await list_alerts(address) == []
        await desk.deliver(61)
        assert await list_alerts(address) == []
    assert await desk.history() == [
        ("am", "alert.fired", "delivered", 2),
        ("am", "alert.resolved", "delivered", 1),
    ]


async def test_receiver_that_was_down_gets_all_in_order_in_one_message_once_it_is_back(
    desk: Desk, free_port: int
) -> None:
    await desk.add("hook", f"json://127.0.0.1:{free_port}")
    episode = uuid4()
    await desk.queue(episode=episode)
    for seconds in (0, 7, 20):
        await desk.deliver(seconds)
    await desk.queue("alert.resolved", episode=episode, title="Delivery rate is back")
    async with running_receiver(free_port) as receiver:
        await desk.deliver()
    (message,) = receiver.got
    assert message["message"].index("alert fired") < message["message"].index("alert resolved")
    assert await desk.history() == [
        ("hook", "alert.fired", "delivered", 4),
        ("hook", "alert.resolved", "delivered", 1),
    ]


async def test_after_a_success_whatever_waits_for_the_channel_goes_too(desk: Desk, free_port: int) -> None:
    await desk.add("hook", f"json://127.0.0.1:{free_port}")
    for name in ("one", "two"):
        await desk.queue(group=name, title=name)
    for seconds in (0, 7, 20, 80):
        await desk.deliver(seconds)
    await desk.queue(group="three", title="three")
    async with running_receiver(free_port) as receiver:
        await desk.deliver()
    assert sorted(receiver.titles) == ["one", "three", "two"]


async def test_after_a_day_of_failures_the_delivery_is_given_up_and_shows(desk: Desk, free_port: int) -> None:
    await desk.add("hook", f"json://127.0.0.1:{free_port}")
    await desk.queue()
    for seconds in (0, 7, 3600, 20 * 3600):
        await desk.deliver(seconds)
    assert await desk.history() == [("hook", "alert.fired", "waiting", 4)]
    await desk.deliver(4 * 3600)
    assert await desk.history() == [("hook", "alert.fired", "failed", 5)]


async def test_refusal_is_not_repeated_and_the_fallback_is_told_at_once(desk: Desk, free_port: int) -> None:
    async with (
        running_receiver(free_port, status=404, reply="no such hook: s3cret-token") as first,
        running_receiver(find_free_port()) as second,
    ):
        one, other = await desk.add("first", first.url), await desk.add("second", second.url)
        await desk.route(Route(one, fallback_id=other))
        await desk.queue()
        await desk.deliver()
        await desk.deliver(3600)
    assert len(second.got) == 1
    assert await desk.history() == [
        ("first", "alert.fired", "failed", 1),
        ("second", "alert.fired", "delivered", 1),
    ]
    async with await connect(desk.url, "test") as conn:
        answers = [one.last_answer for one in await deliveries.list_deliveries(conn, most=10)]
    assert answers == ["HTTP 200 OK", "HTTP 404 Not Found: no such hook: …"]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_answer_that_may_pass_is_tried_again(desk: Desk, free_port: int, status: int) -> None:
    async with running_receiver(free_port, status=status) as receiver:
        await desk.add("hook", receiver.url)
        await desk.queue()
        await desk.deliver()
        receiver.status = 204
        await desk.deliver(7)
    assert await desk.history() == [("hook", "alert.fired", "delivered", 2)]


async def test_fallback_hears_of_what_fails_for_too_long_and_of_its_end(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as second:
        one = await desk.add("first", f"json://127.0.0.1:{find_free_port()}")
        other = await desk.add("second", second.url)
        await desk.route(Route(one, fallback_id=other, fallback_after_seconds=60))
        episode = uuid4()
        await desk.queue(episode=episode)
        await desk.deliver()
        await desk.deliver(50)
        assert second.got == []
        await desk.deliver(15)
        assert second.titles == ["Campaign delivery rate below threshold"]
        await desk.queue("alert.resolved", episode=episode, title="It is back")
        await desk.deliver()
    assert second.titles == ["Campaign delivery rate below threshold", "It is back"]


async def test_hanging_receiver_holds_up_no_other_channel(desk: Desk, free_port: int) -> None:
    async with (
        running_receiver(free_port, is_hanging=True) as slow,
        running_receiver(find_free_port()) as quick,
    ):
        await desk.add("slow", slow.url)
        await desk.add("quick", quick.url)
        await desk.queue(group="a", title="a")
        await desk.queue(group="b", title="b")
        notifier = Notifier(desk.settings, desk.clock)
        async with asyncio.timeout(60), await connect(desk.url, "test") as conn:
            while len(quick.got) < 2 or not slow.asked.is_set():
                await notifier.step(conn)
                await asyncio.sleep(0.05)
            assert slow.got == []
            assert len(notifier.sendings) >= 1
            for sending in notifier.sendings:
                sending.cancel()
            await asyncio.gather(*notifier.sendings, return_exceptions=True)


async def test_two_notifiers_deliver_nothing_twice(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        await desk.add("hook", receiver.url)
        for number in range(5):
            await desk.queue(group=str(number), title=str(number))
        await asyncio.gather(desk.deliver(), desk.deliver())
        await desk.deliver()
    assert sorted(receiver.titles) == ["0", "1", "2", "3", "4"]


async def test_what_is_due_together_in_one_group_goes_out_as_one_message(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        await desk.route(Route(await desk.add("hook", receiver.url), group_wait_seconds=30))
        await desk.queue(title="one")
        await desk.deliver(10)
        await desk.queue(title="two", severity="critical")
        await desk.deliver(10)
        assert receiver.got == []
        await desk.deliver(10)
    (message,) = receiver.got
    assert message["title"] == "2 notices: two"
    assert message["type"] == "failure"


async def test_worker_does_not_connect_where_notifications_may_not_go(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        await desk.add("hook", receiver.url)
        await desk.add("am", f"http://127.0.0.1:{free_port}", "alertmanager")
        desk.settings = make_settings(desk.settings.data_dir)
        await desk.queue()
        await desk.deliver()
        assert not receiver.asked.is_set()
    async with await connect(desk.url, "test") as conn:
        answers = [one.last_answer for one in await deliveries.list_deliveries(conn, most=10)]
    assert all("127.0.0.1 is not a public address" in str(answer) for answer in answers)
    assert not any("s3cret" in str(answer) for answer in answers)


async def test_channel_encrypted_under_another_key_says_so(desk: Desk, free_port: int) -> None:
    await desk.add("hook", f"json://127.0.0.1:{free_port}")
    desk.settings = make_settings(
        desk.settings.data_dir, SECRET_KEY="another secret key of tests, long enough"
    )
    await desk.queue()
    await desk.deliver()
    assert "Enter the address of this channel again" in str(await desk.answer())


async def test_test_of_a_channel_goes_the_way_of_every_notice(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        channel = await desk.add("hook", receiver.url)
        async with await connect(desk.url, "test") as conn, transaction(conn):
            await channels.queue_test(conn, ME, desk.clock.now(), channel)
        await desk.deliver()
    assert receiver.titles == ["Test of the channel hook"]


async def test_failed_delivery_is_tried_again_by_hand(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port, status=403) as receiver:
        await desk.add("hook", receiver.url)
        await desk.queue()
        await desk.deliver()
        receiver.status = 200
        async with await connect(desk.url, "test") as conn, transaction(conn):
            (line,) = await deliveries.list_deliveries(conn, most=1, state="failed")
            await deliveries.retry_delivery(conn, ME, desk.clock.now(), line.id)
        await desk.deliver()
        assert len(receiver.got) == 1
        async with await connect(desk.url, "test") as conn, transaction(conn):
            assert [one.result for one in await deliveries.list_attempts(conn, line.id)] == [
                "refused",
                "delivered",
            ]
            with pytest.raises(Conflict):
                await deliveries.retry_delivery(conn, ME, desk.clock.now(), line.id)


async def test_history_goes_after_ninety_days(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        await desk.add("hook", receiver.url)
        await desk.queue()
        await desk.deliver()
    await desk.deliver(91 * 24 * 3600)
    assert await desk.history() == []
