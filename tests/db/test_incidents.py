"""Incidents on a real database: opened by alerts or by hand, changed by people who may be two at once, escalated."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from event_stream_engine.access.credentials import add_operator
from event_stream_engine.access.roles import Role
from event_stream_engine.audit.entries import Actor
from event_stream_engine.incidents import actions, incidents, timeline
from event_stream_engine.incidents.actions import Opening, Report, Seen
from event_stream_engine.incidents.following import follow
from event_stream_engine.incidents.incidents import Incident
from event_stream_engine.incidents.policy import Contact, change_policy, load_policy
from event_stream_engine.incidents.timers import escalate
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.worker.escalator import run_escalator
from tests.incidents import ADMIN, add_contacts, end, fire, list_told

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url, "test") as conn:
        yield conn


async def open_by_hand(conn: Connection, severity: str = "critical", now: datetime = NOW) -> Incident:
    async with transaction(conn):
        return await actions.open_incident(
            conn,
            ADMIN,
            Opening("Nothing arrives", severity, "Since noon."),  # type: ignore[arg-type]
            now,
        )


async def list_kinds(conn: Connection, incident: Incident) -> list[str]:
    return [row.kind for row in await timeline.list_rows(conn, incident.id)]


async def load_only(conn: Connection) -> Incident:
    (only,) = await incidents.list_incidents(conn, limit=10)
    return only


async def add_person(conn: Connection, name: str, role: Role) -> UUID:
    email = f"{name.lower()}@example.com"
    return await add_operator(conn, email, name=name, password="a long password", role=role, now=NOW)


def seen(incident: Incident) -> Seen:
    return Seen(incident.id, incident.version)


async def escalate_at(conn: Connection, *minutes: float) -> None:
    for one in minutes:
        async with transaction(conn):
            await escalate(conn, NOW + one * MINUTE)


async def test_policy_is_the_documents_and_a_change_of_it_is_audited(conn: Connection) -> None:
    policy = await load_policy(conn)
    assert [step.name for step in policy.steps] == [
        "On-call Engineer",
        "Technical Lead",
        "Engineering Manager",
        "CTO",
    ]
    assert [level.response_seconds for level in policy.levels.values()] == [900, 3600, 14400, 86400]
    async with transaction(conn):
        await add_contacts(conn, NOW)
    changed = await load_policy(conn)
    assert [step.contacts[0].name for step in changed.steps] == ["Ada", "Ben", "Cleo", "Dora"]
    cursor = await conn.execute("SELECT after::text FROM audit_log WHERE action = 'incident_policy.changed'")
    ((after,),) = await cursor.fetchall()
    assert "Ada" not in after
    with pytest.raises(Conflict, match="changed since you read it"):
        await change_policy(conn, ADMIN, policy, policy.version, NOW)
    stranger = replace(changed.steps[0], contacts=[Contact("Eve", [uuid4()])])
    with pytest.raises(Invalid, match="Eve needs a channel"):
        await change_policy(conn, ADMIN, replace(changed, steps=[stranger]), changed.version, NOW)


async def test_each_step_is_told_at_its_time_until_somebody_acknowledges(conn: Connection) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    incident = await open_by_hand(conn)
    assert [(one.channel, one.kind) for one in await list_told(conn)] == [("Ada", "incident.opened")]
    await escalate_at(conn, 14.9)
    assert len(await list_told(conn)) == 1
    await escalate_at(conn, 15, 15, 29, 30)
    told = await list_told(conn)
    assert [one.channel for one in told] == ["Ada", "Ben", "Cleo"]
    assert told[1].title == "INC-0001 escalated to Technical Lead: Nothing arrives"
    assert told[1].text == "Nobody has acknowledged it for 15 minutes, so it comes to you as Technical Lead."
    async with transaction(conn):
        await actions.acknowledge(conn, ADMIN, seen(incident), "", NOW + 40 * MINUTE)
    await escalate_at(conn, 45, 600)
    assert len(await list_told(conn)) == 3
    kinds = await list_kinds(conn, incident)
    assert kinds == ["opened", "escalated", "response_missed", "escalated", "escalated", "acknowledged"]


async def test_escalation_goes_on_after_a_restart_and_says_what_comes_late(
    conn: Connection, database_url: str
) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    await open_by_hand(conn)
    clock = SettableClock(NOW + 15 * MINUTE)
    await run_until_told(conn, database_url, clock, 2)  # a worker that stops after the second step
    clock.advance(timedelta(hours=2))  # nobody works; two steps come due
    await run_until_told(conn, database_url, clock, 4)
    told = await list_told(conn)
    assert [one.channel for one in told] == ["Ada", "Ben", "Cleo", "Dora"]
    assert "late" not in told[1].text
    assert told[2].text.endswith("This message is late by 1 hour 45 minutes: no worker was running.")
    assert told[3].text.endswith("This message is late by 1 hour 30 minutes: no worker was running.")


async def run_until_told(conn: Connection, url: str, clock: SettableClock, count: int) -> None:
    """Run two escalators, as of two workers, until so many have been told; then end both."""
    stopping = asyncio.Event()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(run_escalator(url, clock, stopping, every_seconds=0.01))
        while len(await list_told(conn)) < count:
            await asyncio.sleep(0.01)
        stopping.set()
    assert len(await list_told(conn)) == count


async def test_a_clock_that_steps_back_and_forth_tells_nobody_twice(conn: Connection) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    await open_by_hand(conn)
    await escalate_at(conn, 16, 5, 16, -60, 16)
    assert [one.channel for one in await list_told(conn)] == ["Ada", "Ben"]


async def test_an_acknowledgement_that_is_being_written_is_not_escalated_over(
    conn: Connection, database_url: str
) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    incident = await open_by_hand(conn)
    async with await connect(database_url, "other") as other, transaction(other):
        await actions.acknowledge(other, ADMIN, seen(incident), "", NOW + 14 * MINUTE)
        await escalate_at(conn, 20)  # does not wait, and leaves it for the next turn
    await escalate_at(conn, 20)
    assert [one.channel for one in await list_told(conn)] == ["Ada"]


async def test_what_a_crash_takes_back_is_told_by_the_next_turn(conn: Connection) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    await open_by_hand(conn)
    async with transaction(conn), conn.transaction(force_rollback=True):
        assert await escalate(conn, NOW + 15 * MINUTE) == 2
    assert len(await list_told(conn)) == 1
    await escalate_at(conn, 15)
    assert [one.channel for one in await list_told(conn)] == ["Ada", "Ben"]


async def test_reopening_tells_everybody_anew_and_resolving_tells_whoever_was_told(conn: Connection) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    incident = await open_by_hand(conn)
    await escalate_at(conn, 15)
    async with transaction(conn):
        ended = await actions.resolve(conn, ADMIN, seen(incident), "The carrier is back.", NOW + 20 * MINUTE)
    told = (await list_told(conn))[2:]
    assert {(one.channel, one.kind, one.text) for one in told} == {
        (name, "incident.resolved", "The carrier is back.") for name in ("Ada", "Ben")
    }
    async with transaction(conn):
        again = await actions.reopen(conn, ADMIN, seen(ended), "It is not.", NOW + 60 * MINUTE)
    assert (again.state, again.due_at, again.acknowledged_at) == ("open", NOW + 75 * MINUTE, None)
    await escalate_at(conn, 75)
    told = (await list_told(conn))[4:]
    assert [(one.channel, one.kind) for one in told] == [
        ("Ada", "incident.opened"),
        ("Ben", "incident.escalated"),
    ]
    assert told[0].title == "INC-0001 reopened: Nothing arrives"


async def test_a_lower_severity_plans_later_and_a_higher_one_begins_anew(conn: Connection) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
    incident = await open_by_hand(conn)
    async with transaction(conn):
        lowered = await actions.change_severity(
            conn, ADMIN, seen(incident), "high", note="Only one sender.", now=NOW + 10 * MINUTE
        )
    await escalate_at(conn, 59)
    assert [one.channel for one in await list_told(conn)] == ["Ada"]
    await escalate_at(conn, 60)
    assert [one.channel for one in await list_told(conn)] == ["Ada", "Ben"]
    async with transaction(conn):
        await actions.change_severity(
            conn, ADMIN, seen(lowered), "critical", note="All of them.", now=NOW + 70 * MINUTE
        )
    await escalate_at(conn, 84, 85)
    assert [one.channel for one in await list_told(conn)] == ["Ada", "Ben", "Ada", "Ben"]
    assert (await list_told(conn))[2].title == "INC-0001 is now critical: Nothing arrives"


async def test_a_step_without_contacts_says_so_in_the_timeline(conn: Connection) -> None:
    incident = await open_by_hand(conn)
    rows = await timeline.list_rows(conn, incident.id)
    assert rows[1].text == (
        "On-call Engineer: nobody was told, because the step has no contacts. Name them at /settings/escalation."
    )


async def test_the_second_of_two_people_is_told_what_the_first_one_did(
    conn: Connection, database_url: str
) -> None:
    operator = await add_person(conn, "Ada", Role.operator)
    incident = await open_by_hand(conn)
    ready = asyncio.Event()

    async def be_first() -> None:
        async with await connect(database_url, "first") as first, transaction(first):
            await actions.acknowledge(
                first, Actor(f"operator:{operator}"), seen(incident), "", NOW + 3 * MINUTE
            )
            ready.set()
            await asyncio.sleep(0.05)

    async def be_second() -> None:
        await ready.wait()
        async with transaction(conn):
            await actions.resolve(conn, ADMIN, seen(incident), "", NOW + 3 * MINUTE)

    first, second = await asyncio.gather(be_first(), be_second(), return_exceptions=True)
    assert first is None
    assert isinstance(second, Conflict)
    assert str(second) == (
        "INC-0001 has changed since you looked: Acknowledged (Ada, 12:03 UTC). Look at it again, then decide."
    )


async def test_notes_of_two_people_at_once_are_both_kept(conn: Connection) -> None:
    incident = await open_by_hand(conn)
    for text in ("One", "Two"):
        async with transaction(conn):
            await actions.note(conn, ADMIN, incident.id, text, NOW)
    assert [row.text for row in await timeline.list_rows(conn, incident.id)][2:] == ["One", "Two"]
    with pytest.raises(Invalid, match="empty"):
        await actions.note(conn, ADMIN, incident.id, "  ", NOW)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await conn.execute("DELETE FROM incident_timeline")


async def test_every_change_is_a_row_of_the_timeline_and_audited(conn: Connection) -> None:
    await add_person(conn, "Ada", Role.operator)
    viewer = await add_person(conn, "Vic", Role.viewer)
    ada = (await incidents.list_assignees(conn))[0]
    incident = await open_by_hand(conn)
    async with transaction(conn):
        incident = await actions.assign(conn, ADMIN, seen(incident), ada.id, NOW)
        incident = await actions.acknowledge(conn, ADMIN, seen(incident), "On it.", NOW)
        incident = await actions.mitigate(conn, ADMIN, seen(incident), "Other sender.", NOW)
        incident = await actions.write_report(conn, ADMIN, seen(incident), Report("S", "R", "F"), NOW)
        incident = await actions.resolve(conn, ADMIN, seen(incident), "", NOW)
        incident = await actions.assign(conn, ADMIN, seen(incident), None, NOW)
    rows = await timeline.list_rows(conn, incident.id)
    changes = ["opened", "assigned", "acknowledged", "mitigated", "report_changed", "resolved", "assigned"]
    assert [row.kind for row in rows if row.kind != "escalated"] == changes
    assert [row.headline for row in rows if row.kind == "assigned"] == [
        "Assigned to Ada",
        "Taken from Ada",
    ]
    assert [(row.before, row.after) for row in rows if row.kind == "mitigated"] == [
        ("acknowledged", "mitigated")
    ]
    cursor = await conn.execute(
        "SELECT action FROM audit_log WHERE subject = %s ORDER BY id", (f"incident:{incident.id}",)
    )
    audited = [action for (action,) in await cursor.fetchall()]
    assert [one for one in audited if one != "incident.escalated"] == [f"incident.{kind}" for kind in changes]
    with pytest.raises(Invalid, match="may not change anything"):
        await actions.assign(conn, ADMIN, seen(incident), viewer, NOW)


async def test_incident_is_found_by_the_number_people_say(conn: Connection) -> None:
    incident = await open_by_hand(conn)
    assert incident.name == "INC-0001"
    for said in ("INC-0001", "inc-1", "1"):
        assert (await incidents.load_by_name(conn, said)).id == incident.id
    for said in ("INC-0002", "noon", ""):
        with pytest.raises(NotFound):
            await incidents.load_by_name(conn, said)
    with pytest.raises(NotFound):
        await actions.note(conn, ADMIN, UUID(int=1), "x", NOW)


async def test_firing_alerts_of_one_rule_share_one_incident(conn: Connection) -> None:
    one, two = fire(NOW, subject="channel:sms"), fire(NOW, subject="channel:whatsapp")
    async with transaction(conn):
        await follow(conn, [one, two], NOW)
        await follow(conn, [fire(NOW, subject="country:US")], NOW)
        await follow(conn, [fire(NOW, rule_id=uuid4(), opens_incident=None)], NOW)
    incident = await load_only(conn)
    assert (incident.title, incident.severity, incident.alerts) == (
        "Campaign delivery rate below threshold",
        "critical",
        3,
    )
    rows = await timeline.list_rows(conn, incident.id)
    assert [row.text for row in rows if row.kind == "alert_fired"] == [
        "Campaign delivery rate below threshold, channel:sms and 1 more: 88.5, threshold 90.",
        "Campaign delivery rate below threshold, country:US: 88.5, threshold 90.",
    ]


async def test_rules_with_one_label_share_an_incident_and_the_gravest_alert_decides(conn: Connection) -> None:
    labels = {"incident": "database"}
    mild = fire(NOW, labels=labels, opens_incident="medium")
    silent = fire(NOW, rule_id=uuid4(), labels=labels, opens_incident=None)
    grave = fire(NOW, rule_id=uuid4(), labels=labels, opens_incident="critical")
    async with transaction(conn):
        await follow(conn, [mild], NOW)
        await follow(conn, [silent], NOW)
        await follow(conn, [grave], NOW + MINUTE)
    incident = await load_only(conn)
    assert (incident.alerts, incident.severity, incident.round) == (3, "critical", 2)
    assert incident.due_at == NOW + 16 * MINUTE


async def test_incident_nobody_touched_ends_with_its_last_alert(conn: Connection) -> None:
    async with transaction(conn):
        await add_contacts(conn, NOW)
        one, two = fire(NOW, subject="channel:sms"), fire(NOW, subject="channel:whatsapp")
        await follow(conn, [one, two], NOW)
        await follow(conn, [end(one, NOW + MINUTE)], NOW + MINUTE)
    assert (await load_only(conn)).state == "open"
    async with transaction(conn):
        await follow(conn, [end(two, NOW + 2 * MINUTE)], NOW + 2 * MINUTE)
    incident = await load_only(conn)
    assert (incident.state, incident.responded_at, incident.quiet_at) == ("resolved", None, NOW + 2 * MINUTE)
    assert [(one.channel, one.kind) for one in await list_told(conn)] == [
        ("Ada", "incident.opened"),
        ("Ada", "incident.resolved"),
    ]
    await escalate_at(conn, 600)
    assert len(await list_told(conn)) == 2
    async with transaction(conn):
        await follow(conn, [fire(NOW)], NOW + 3 * MINUTE)
    assert [one.name for one in await incidents.list_incidents(conn, limit=9)] == ["INC-0002", "INC-0001"]
    with pytest.raises(Conflict, match="INC-0002 about the same alerts is open"):
        await actions.reopen(conn, ADMIN, seen(incident), "", NOW + 4 * MINUTE)


async def test_incident_in_somebodys_hands_is_ended_by_a_person_alone(conn: Connection) -> None:
    alert = fire(NOW)
    async with transaction(conn):
        await follow(conn, [alert], NOW)
    incident = await load_only(conn)
    async with transaction(conn):
        await actions.note(conn, ADMIN, incident.id, "Looking.", NOW)
        await follow(conn, [end(alert, NOW + MINUTE)], NOW + MINUTE)
    incident = await load_only(conn)
    assert (incident.state, incident.quiet_at) == ("open", NOW + MINUTE)
    rows = await timeline.list_rows(conn, incident.id)
    assert (rows[-1].kind, rows[-1].text) == ("alerts_over", "Resolve it if nothing is left to do.")
    async with transaction(conn):
        await follow(conn, [fire(NOW + 2 * MINUTE)], NOW + 2 * MINUTE)
    again = await load_only(conn)
    assert (again.quiet_at, again.open_alerts, again.alerts) == (None, 1, 2)


async def test_transitions_that_are_followed_twice_change_nothing_the_second_time(conn: Connection) -> None:
    alert = fire(NOW)
    async with transaction(conn):
        await follow(conn, [alert], NOW)
        before = await list_kinds(conn, await load_only(conn))
        await follow(conn, [alert], NOW)
        assert await list_kinds(conn, await load_only(conn)) == before
        await follow(conn, [end(alert, NOW)], NOW)
        before = await list_kinds(conn, await load_only(conn))
        await follow(conn, [end(alert, NOW), replace(alert, before="firing", after="acknowledged")], NOW)
        assert await list_kinds(conn, await load_only(conn)) == before


async def test_lists_are_paged_and_filtered(conn: Connection) -> None:
    made = [
        await open_by_hand(conn, severity, NOW + n * MINUTE)
        for n, severity in enumerate(("low", "high", "low"))
    ]
    first = await incidents.list_incidents(conn, limit=2)
    assert [one.number for one in first] == [3, 2]
    rest = await incidents.list_incidents(conn, limit=2, before=(first[-1].opened_at, first[-1].id))
    assert [one.number for one in rest] == [1]
    assert [one.number for one in await incidents.list_incidents(conn, limit=9, severities=["low"])] == [3, 1]
    async with transaction(conn):
        await actions.resolve(conn, ADMIN, seen(made[1]), "", NOW + 9 * MINUTE)
    assert [one.number for one in await incidents.list_incidents(conn, limit=9, states=["resolved"])] == [2]
