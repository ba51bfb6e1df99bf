"""The pages of incidents and their report, on a real engine."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typst
from pypdf import PdfReader

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.alerting.episodes import list_open
from event_stream_engine.alerting.measure import Measured
from event_stream_engine.alerting.state import Reading
from event_stream_engine.incidents import actions, incidents
from event_stream_engine.incidents.actions import Report, Seen
from event_stream_engine.incidents.following import follow
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker import evaluator
from tests.engine import Engine
from tests.incidents import ADMIN, add_contacts, fire
from tests.web.test_api import happen, receipt
from tests.web.test_room_pages import HOSTILE, load_page

CAUSE = "The carrier *filtered* #us"
TASK = "Ada: register | the campaign"


async def happen_an_incident(engine: Engine) -> str:
    """Let every fifth message of the last hour fail, and an alert about it open an incident that people work on."""
    now = datetime.now(UTC).replace(microsecond=0)
    receipts = []
    for number in range(20):
        at, to = now - timedelta(minutes=3 * number + 1), f"+1415555{number:04d}"
        status = "delivered" if number % 5 else "failed"
        receipts += [receipt(at, f"SM{number}", one, To=to) for one in ("sent", status)]
    await happen(engine, *receipts)
    fired = now - timedelta(minutes=40)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        await add_contacts(conn, now)
        cursor = await conn.execute("SELECT id, name FROM alert_rules WHERE metric = 'message_error_rate'")
        ((rule_id, name),) = await cursor.fetchall()
        alert = fire(fired, rule_id=rule_id, name=name, value=20.0, threshold=5.0, opens_incident="critical")
        await conn.execute(
            "INSERT INTO alert_episodes (id, rule_id, subject, subject_name, name, metric, severity, labels, comparison,"
            " threshold, value, peak, reason, runbook_url, fired_at) VALUES (%s, %s, 'all', 'all', %s,"
            " 'message_error_rate', 'critical', '{}', 'above', 5, 20, 25, '', '', %s)",
            (alert.episode_id, rule_id, name, fired),
        )
        await follow(conn, [alert], fired)
        (incident,) = await incidents.list_incidents(conn, limit=1)
        await actions.note(conn, ADMIN, incident.id, f"Only long codes {HOSTILE}", now)
        report = Report(f"One in five {HOSTILE}", CAUSE, f"{TASK}\n\nBen: watch it")
        await actions.write_report(conn, ADMIN, Seen(incident.id, incident.version), report, now)
    return str(incident.id)


async def test_pages_are_whole_and_what_people_wrote_is_only_text(engine: Engine) -> None:
    incident_id = await happen_an_incident(engine)
    for address in ("/incidents", f"/incidents/{incident_id}", "/settings/escalation"):
        page = await load_page(engine, address)
        assert page.refused == [], address
        assert len(page.ids) == len(set(page.ids)), address
        assert page.refers_to <= set(page.ids), address
    page = await load_page(engine, f"/incidents/{incident_id}")
    assert "Only long codes &#34;&gt;&lt;script&gt;" in page.text
    assert "+1 415 ••• ••" in page.text
    assert "+14155550" not in page.text
    chart = page.charts["value-1-chart"]
    assert any(row["fires"] and row["value"] for row in chart["rows"])
    assert (await engine.client.get(f"/incidents/{incident_id[::-1]}")).status_code == 404


async def test_viewer_reads_incidents_and_finds_no_button_that_changes_anything(engine: Engine) -> None:
    incident_id = await happen_an_incident(engine)
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "viewer", Role.viewer, datetime.now(UTC))).key
    headers = {"authorization": f"Bearer {key}", "accept": "text/html"}
    for address in ("/incidents", f"/incidents/{incident_id}", "/settings/escalation"):
        answer = await engine.anonymous.get(address, headers=headers)
        assert answer.status_code == 200, answer.text
        assert "data-method" not in answer.text
        assert "data-dialog" not in answer.text


async def test_report_as_markdown_holds_everything_with_markup_escaped(engine: Engine) -> None:
    incident_id = await happen_an_incident(engine)
    answer = await engine.client.get(f"/api/v1/incidents/{incident_id}/report.md")
    assert answer.headers["content-disposition"] == 'inline; filename="INC-0001.md"'
    for told in (
        "# INC-0001 Message error rate above threshold",
        "critical: System down or major functionality unavailable",
        "The carrier \\*filtered\\* \\#us",
        "- Ada: register \\| the campaign\n- Ben: watch it",
        "| failed | 4 |",
        "| recipients to whom one failed | 4 |",
        "| +1 415 ••• ••",
        "| Message error rate above threshold | 20 %<br>worst 25 % | above 5 % |",
        "| fires |",
        "| Note | the engine | Only long codes",
        "| Response time | 15 minutes: too late |",
    ):
        assert told in answer.text, f"{told} is not in\n{answer.text}"


async def test_report_as_pdf_has_its_text_its_charts_and_every_page_drawn(
    engine: Engine, tmp_path: Path
) -> None:
    incident_id = await happen_an_incident(engine)
    answer = await engine.client.get(f"/api/v1/incidents/{incident_id}/report.pdf")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    document = PdfReader(io.BytesIO(answer.content))
    assert document.metadata is not None
    assert document.metadata.title == "INC-0001 Message error rate above threshold"
    text = " ".join(" ".join(page.extract_text() for page in document.pages).split())
    for told in (
        CAUSE,
        TASK,
        "Only long codes",
        "threshold 5 %",
        "worst 25 %",
        "15 minutes: too late",
        "Opened",
    ):
        assert told in text, f"{told} is not in {text}"
    assert "+14155550" not in text
    (tmp_path / "report.pdf").write_bytes(answer.content)
    for number in range(1, len(document.pages) + 1):
        page = f'#set page(width: auto, height: auto, margin: 0pt)\n#image("report.pdf", page: {number})'
        (tmp_path / "page.typ").write_text(page)
        drawn = typst.compile(tmp_path / "page.typ", root=tmp_path, format="png", ppi=30)
        assert isinstance(drawn, bytes)
        assert drawn.startswith(b"\x89PNG")
        assert len(drawn) > 2000  # an empty page has some 300


async def test_report_of_an_incident_opened_by_hand_says_what_is_not_known(engine: Engine) -> None:
    body = {"title": '#include "x"', "severity": "low"}
    opened = (await engine.client.post("/api/v1/incidents", json=body)).json()
    path = f"/api/v1/incidents/{opened['id']}/report"
    markdown = (await engine.client.get(f"{path}.md")).text
    assert "It was opened by hand; no alert belongs to it." in markdown
    assert "None of its alerts is about messages." in markdown
    assert markdown.count("Not written yet.") == 3
    pdf = await engine.client.get(f"{path}.pdf")
    assert '#include "x"' in PdfReader(io.BytesIO(pdf.content)).pages[0].extract_text()


@pytest.mark.parametrize("name", ["report.md", "report.pdf"])
async def test_report_needs_somebody_who_is_signed_in(engine: Engine, name: str) -> None:
    opened = (await engine.client.post("/api/v1/incidents", json={"title": "x", "severity": "low"})).json()
    assert (await engine.anonymous.get(f"/api/v1/incidents/{opened['id']}/{name}")).status_code == 401


async def test_the_evaluator_opens_the_incident_of_a_rule_and_whoever_has_it_has_its_alerts(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SettableClock(datetime.now(UTC))
    async with await connect(engine.url, "test") as conn:
        async with transaction(conn):
            await add_contacts(conn, clock.now())
            await conn.execute(
                "UPDATE alert_rules SET is_enabled = metric = 'dead_letters', opens_incident = 'high'"
            )

        async def measure(value: float) -> None:
            async def answer(*_: object) -> dict[object, Measured]:
                rules = await evaluator.evaluation.list_rules(conn)
                return {rule.question: Measured([Reading("all", value)]) for rule in rules}

            monkeypatch.setattr(evaluator.evaluation, "measure_rules", answer)
            await evaluator.tick(conn, clock)
            clock.advance(timedelta(seconds=10))

        await measure(3)
        (incident,) = await incidents.list_incidents(conn, limit=9)
        assert (incident.title, incident.state, incident.open_alerts) == (
            "Events could not be projected",
            "open",
            1,
        )
        alerts = await incidents.list_alerts(conn, incident.id)
        assert (alerts[0].metric, alerts[0].number) == ("dead_letters", 1)
        async with transaction(conn):
            seen = Seen(incident.id, incident.version)
            incident = await actions.acknowledge(conn, ADMIN, seen, "", clock.now())
        assert [one.state for one in await list_open(conn)] == ["acknowledged"]
        await measure(0)
        await measure(0)
        (incident,) = await incidents.list_incidents(conn, limit=9)
        assert (incident.state, incident.open_alerts, incident.quiet_at is None) == ("acknowledged", 0, False)
