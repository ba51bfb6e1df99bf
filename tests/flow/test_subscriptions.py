"""Reports on their way to people: by a real mail server, once for each version and channel."""

import email
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key, add_operator
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.reporting import subscriptions
from event_stream_engine.reporting.schedule import READY_AFTER
from event_stream_engine.reporting.subscriptions import Subscription
from tests.engine import Engine, make_settings, running_engine
from tests.receivers import (
    ME,
    add_channel,
    deliver_all,
    running_mail_server,
    running_receiver,
)
from tests.reports import happen, make_all, opened, send_campaign, tell
from tests.web.test_room_pages import HOSTILE

RIGA = ZoneInfo("Europe/Riga")
NOON = datetime(2026, 3, 7, 10, tzinfo=UTC)  # a Saturday in Riga
READY = datetime(2026, 3, 7, 22, tzinfo=UTC) + READY_AFTER
DAY = timedelta(days=1)
PASSWORD = "correct horse battery staple"


class Desk:
    """Subscribes people, lets days go by and mails go out, by a clock that stands still."""

    def __init__(self, conn: Connection, url: str, settings: Settings, clock: SettableClock) -> None:
        self.conn, self.url, self.settings, self.clock = conn, url, settings, clock

    async def add_person(self, name: str) -> UUID:
        async with transaction(self.conn):
            return await add_operator(
                self.conn, f"{name}@example.com", name=name, password=PASSWORD, role=Role.operator, now=NOON
            )

    async def add_channel(self, name: str, target: str, kind: str = "apprise") -> UUID:
        return await add_channel(self.url, self.settings, self.clock, name, target, kind=kind)

    async def subscribe(
        self, person: UUID, channel: UUID, kind: str = "daily", *, with_restated: bool = False
    ) -> Subscription:
        async with transaction(self.conn):
            return await subscriptions.subscribe(
                self.conn,
                ME,
                self.clock.now(),
                kind=kind,
                operator_id=person,
                channel_id=channel,
                with_restated=with_restated,
            )

    async def report(self, at: datetime = READY) -> None:
        self.clock.set(at)
        await make_all(self.conn, RIGA, self.clock)

    async def restate(self) -> None:
        await happen(self.conn, self.url, [tell(NOON, "SM900", "sent")])
        await self.report(READY + DAY)

    async def told(self) -> list[tuple[str, str]]:
        """Return title and channel of what was queued, in order."""
        found = await self.conn.execute(
            "SELECT n.path, c.name FROM notice_deliveries d JOIN notices n ON n.key = d.notice_key"
            " JOIN notification_channels c ON c.id = d.channel_id ORDER BY d.id"
        )
        return await found.fetchall()


@pytest.fixture
async def desk(database_url: str, tmp_path: Path, clock: SettableClock) -> AsyncIterator[Desk]:
    """A day with a campaign of 60 messages, 9 failed."""
    clock.set(NOON)
    settings = make_settings(
        tmp_path, PRIVATE_TARGETS="127.0.0.0/8", PUBLIC_URL="https://console.example.com"
    )
    async with opened(database_url, RIGA) as conn:
        await send_campaign(conn, database_url, NOON, name=f"Spring {HOSTILE}", people=60, new=True, failed=9)
        yield Desk(conn, database_url, settings, clock)


def parts_of(letter: str) -> tuple[EmailMessage, str, str]:
    """Return a letter, its text and its HTML."""
    message = email.message_from_string(letter, policy=policy.default)
    assert isinstance(message, EmailMessage)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return message, text.get_content(), html.get_content()


async def test_report_comes_by_mail_as_html_and_as_text_once_for_all_who_share_the_address(
    desk: Desk, free_port: int
) -> None:
    mail = await desk.add_channel(
        "mail", f"mailto://127.0.0.1:{free_port}/?from=engine@example.com&to=all@example.com"
    )
    for name in ("ada", "ben"):
        await desk.subscribe(await desk.add_person(name), mail)
    await desk.report()
    async with running_mail_server(free_port) as letters:
        for _ in range(2):
            await deliver_all(desk.url, desk.settings, desk.clock)
            await desk.report()
    (letter,) = letters
    message, text, html = parts_of(letter)
    assert message["Subject"] == "Daily report, Saturday, 7 March 2026"
    assert "60 messages were sent: 51 arrived (85.00 %), 9 failed." in text
    assert "1. Address error code 30003 occurrences" in text
    assert "https://console.example.com/reports/daily/2026-03-07?version=1" in text
    assert 'href="https://console.example.com/reports/daily/2026-03-07?version=1"' in html
    assert 'href="https://console.example.com/api/v1/reports/daily.pdf?date=2026-03-07&amp;version=1"' in html
    assert "Spring &#34;&gt;&lt;script&gt;" in html
    for refused in ("<script", "<img", "<link", "<style", "url(", "console:", "src="):
        assert refused not in html, refused
    async with await connect(desk.url, "test") as conn:
        found = await subscriptions.list_subscriptions(conn)
    assert [(one.operator_name, one.last_state) for one in found] == [
        ("ada", "delivered"),
        ("ben", "delivered"),
    ]


async def test_chat_gets_the_report_in_short(desk: Desk, free_port: int) -> None:
    async with running_receiver(free_port) as receiver:
        await desk.subscribe(await desk.add_person("ada"), await desk.add_channel("hook", receiver.url))
        await desk.report()
        await deliver_all(desk.url, desk.settings, desk.clock)
    (message,) = receiver.got
    assert message["title"] == "Daily report, Saturday, 7 March 2026"
    assert "Delivery rate: 85.00 %" in message["message"]
    assert "<table" not in message["message"]


async def test_restated_version_goes_only_to_who_asked_for_it_and_each_version_once(desk: Desk) -> None:
    first = await desk.add_channel("first", "json://127.0.0.1:9/")
    every = await desk.add_channel("every", "json://127.0.0.1:9/")
    ada = await desk.add_person("ada")
    await desk.subscribe(ada, first)
    await desk.subscribe(ada, every, with_restated=True)
    await desk.report()
    await desk.restate()
    await desk.report(READY + DAY)
    saturday, sunday = "/reports/daily/2026-03-07?version=", "/reports/daily/2026-03-08?version="
    told = await desk.told()
    assert sorted(told[:2]) == [(f"{saturday}1", "every"), (f"{saturday}1", "first")]
    assert sorted(told[2:]) == [(f"{saturday}2", "every"), (f"{sunday}1", "every"), (f"{sunday}1", "first")]


async def test_week_goes_to_who_wants_weeks(desk: Desk) -> None:
    channel, ada = await desk.add_channel("mail", "json://127.0.0.1:9/"), await desk.add_person("ada")
    await desk.subscribe(ada, channel, "weekly")
    await desk.report(READY + DAY)
    assert await desk.told() == [("/reports/weekly/2026-03-08?version=1", "mail")]


async def test_whoever_subscribes_when_the_day_is_over_does_not_get_it(desk: Desk) -> None:
    channel, ada = await desk.add_channel("mail", "json://127.0.0.1:9/"), await desk.add_person("ada")
    desk.clock.set(READY)
    await desk.subscribe(ada, channel, with_restated=True)
    await desk.report()
    assert await desk.told() == []
    await desk.report(READY + DAY)
    assert await desk.told() == [("/reports/daily/2026-03-08?version=1", "mail")]


async def test_version_that_is_not_kept_is_told_to_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.subscribe(await desk.add_person("ada"), await desk.add_channel("mail", "json://127.0.0.1:9/"))
    queue = subscriptions.outbox.queue

    async def break_off(*given: object) -> int:
        await queue(*given)  # type: ignore[arg-type]
        raise InterruptedError

    monkeypatch.setattr(subscriptions.outbox, "queue", break_off)
    with suppress(InterruptedError):
        await desk.report()
    assert await desk.told() == []
    monkeypatch.undo()
    await desk.report()
    assert await desk.told() == [("/reports/daily/2026-03-07?version=1", "mail")]


async def test_nobody_is_told_who_is_shut_out_or_by_a_channel_that_is_off_or_gone(desk: Desk) -> None:
    channels = [await desk.add_channel(name, "json://127.0.0.1:9/") for name in ("off", "gone", "works")]
    ada, ben = await desk.add_person("ada"), await desk.add_person("ben")
    await desk.subscribe(ada, channels[0])
    await desk.subscribe(ada, channels[1])
    await desk.subscribe(ben, channels[2])
    await desk.conn.execute("UPDATE notification_channels SET is_enabled = false WHERE name = 'off'")
    await desk.conn.execute(
        "UPDATE notification_channels SET is_enabled = false, removed_at = now(), sealed_target = NULL WHERE name = 'gone'"
    )
    await desk.conn.execute("UPDATE operators SET disabled_at = now() WHERE name = 'ben'")
    await desk.report()
    assert await desk.told() == []
    found = await subscriptions.list_subscriptions(desk.conn)
    assert [one.stopped for one in found] == ["channel removed", "channel off", "person shut out"]


async def test_what_cannot_be_subscribed_is_refused_and_what_is_done_is_audited(desk: Desk) -> None:
    channel, ada = await desk.add_channel("mail", "json://127.0.0.1:9/"), await desk.add_person("ada")
    manager = await desk.add_channel("am", "http://127.0.0.1:9", "alertmanager")
    made = await desk.subscribe(ada, channel)
    with pytest.raises(Conflict, match="already"):
        await desk.subscribe(ada, channel)
    for kind, person, way, field in (
        ("monthly", ada, channel, "kind"),
        ("daily", channel, channel, "operator_id"),
        ("daily", ada, ada, "channel_id"),
        ("daily", ada, manager, "channel_id"),
    ):
        with pytest.raises(Invalid) as refused:
            await desk.subscribe(person, way, kind)
        assert refused.value.field == field
    async with transaction(desk.conn):
        await subscriptions.unsubscribe(desk.conn, ME, NOON, made.id)
    with pytest.raises(NotFound):
        await subscriptions.unsubscribe(desk.conn, ME, NOON, made.id)
    rows = await desk.conn.execute("SELECT action FROM audit_log WHERE action LIKE 'report_sub%' ORDER BY id")
    assert await rows.fetchall() == [("report_subscription.created",), ("report_subscription.removed",)]


@pytest.fixture
async def engine(desk: Desk) -> AsyncIterator[Engine]:
    settings = make_settings(desk.settings.data_dir, TIMEZONE=RIGA.key)
    async with running_engine(desk.url, settings, desk.clock) as running:
        yield running


async def test_operator_subscribes_themselves_and_an_admin_everybody(desk: Desk, engine: Engine) -> None:
    channel, ada = await desk.add_channel("mail", "json://127.0.0.1:9/"), await desk.add_person("ada")
    body = {"kind": "weekly", "channel_id": str(channel)}
    path = "/api/v1/reports/subscriptions"
    refused = await engine.client.post(path, json=body)
    assert refused.status_code == 422  # a program is no person
    made = await engine.client.post(path, json=body | {"operator_id": str(ada), "with_restated": True})
    assert made.status_code == 201, made.text
    subscription = made.json()
    assert (subscription["operator_name"], subscription["with_restated"]) == ("ada", True)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        keys = {
            role: (await add_api_key(conn, role.value, role, NOON)).key
            for role in (Role.operator, Role.viewer)
        }

    async def ask(role: Role, method: str, address: str, **more: object) -> httpx.Response:
        headers = {"authorization": f"Bearer {keys[role]}"}
        return await engine.anonymous.request(method, address, headers=headers, **more)  # type: ignore[arg-type]

    others = body | {"operator_id": str(ada), "kind": "daily"}
    assert (await ask(Role.operator, "POST", path, json=others)).status_code == 403
    assert (await ask(Role.operator, "DELETE", f"{path}/{subscription['id']}")).status_code == 403
    assert (await ask(Role.viewer, "DELETE", f"{path}/{subscription['id']}")).status_code == 403
    assert [one["id"] for one in (await engine.get(path))["items"]] == [subscription["id"]]
    assert (await engine.client.delete(f"{path}/{subscription['id']}")).status_code == 204
    assert (await engine.get(path))["items"] == []
