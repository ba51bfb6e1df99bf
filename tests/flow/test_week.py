"""The acceptance week: webhooks of seven days, and the figures they lead to, asked for over HTTP."""

import gzip
import json
import random
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics import rollups
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.ingest.importing import Imported, import_webhooks
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.worker.projector import open_projector
from event_stream_engine.worker.recount import recount
from tests.engine import Engine, make_settings, running_engine
from tests.flow.oracle import Oracle, export_rows

WEEK = Path(__file__).parent.parent / "data" / "webhooks-week.ndjson.gz"
EXPECTED: dict[str, Any] = json.loads(WEEK.with_name("webhooks-week.expected.json").read_text())
WINDOW = {"since": "2026-03-01T00:00:00Z", "until": "2026-03-10T00:00:00Z"}


async def import_file(engine: Engine, file: Path) -> Imported:
    async with await connect(engine.url, "test") as conn:
        imported = await import_webhooks(
            conn,
            file,
            source=uuid4(),
            now=datetime.now(UTC),
            on_reject=lambda reject: pytest.fail(f"{reject}"),
            on_read=lambda _: None,
            on_stored=lambda *_: None,
        )
    await engine.project()
    return imported


async def read_figures(engine: Engine, window: Mapping[str, str] = WINDOW) -> dict[str, Any]:
    """Every figure of the answers, without the moment they were made."""
    answers = {}
    for name in ("delivery", "errors", "inbound", "consent"):
        answers[name] = await engine.get(f"/api/v1/analytics/{name}", **window)
        del answers[name]["as_of"]
    return answers


def assert_expected(figures: dict[str, Any]) -> None:
    delivery, errors, inbound, consent = (
        figures[name] for name in ("delivery", "errors", "inbound", "consent")
    )
    summary = delivery["execution_summary"]
    assert summary["total_recipients"] == EXPECTED["distinct_messages"]
    assert {name: count for name, count in delivery["performance_breakdown"].items() if count} == EXPECTED[
        "status_breakdown"
    ]
    for name in ("messages_sent", "messages_delivered", "messages_failed", "delivery_rate_percent"):
        assert summary[name] == EXPECTED[name], name
    assert delivery["conflicts"] == EXPECTED["conflicts"]
    assert delivery["by_channel"] == EXPECTED["sent_per_channel"]

    times, expected_times = delivery["timing_analysis"], EXPECTED["delivery_time_seconds"]
    assert times["measured_messages"] == expected_times["count"]
    assert times["average_delivery_time_seconds"] == expected_times["average"]
    assert times["fastest_delivery_seconds"] == expected_times["fastest"]
    assert times["slowest_delivery_seconds"] == expected_times["slowest"]
    for name in ("p50", "p75", "p90", "p95", "p99"):
        assert times["delivery_time_percentiles"][name] == pytest.approx(expected_times[name], rel=0.01), name

    analysis = errors["error_analysis"]
    assert {code: row["count"] for code, row in analysis["error_breakdown"].items()} == EXPECTED[
        "error_breakdown"
    ]
    assert {row["country"]: row["error_count"] for row in analysis["top_error_countries"]} == EXPECTED[
        "error_countries"
    ]

    assert inbound["inbound_analytics"]["volume_metrics"]["total_inbound_24h"] == EXPECTED["inbound"]["total"]
    assert (
        inbound["inbound_analytics"]["volume_metrics"]["unique_senders"]
        == EXPECTED["inbound"]["unique_senders"]
    )
    assert inbound["by_intent"] == EXPECTED["inbound"]["by_intent"]
    assert inbound["by_day"] == EXPECTED["inbound"]["by_day"]

    stops = consent["consent_analytics"]["consent_trends"]["stop_commands_24h"]
    assert stops == EXPECTED["inbound"]["by_intent"]["stop"]
    assert consent["consent_analytics"]["stop_users"] == EXPECTED["consent"]["STOP"]
    assert consent["consent_analytics"]["opt_in_users"] == EXPECTED["consent"]["OPT_IN_again"]


async def test_the_week_leads_to_its_figures_and_a_second_import_changes_nothing(engine: Engine) -> None:
    first = await import_file(engine, WEEK)
    assert (first.lines, first.rejected) == (EXPECTED["lines"], 0)
    figures = await read_figures(engine)
    assert_expected(figures)
    assert (await engine.get("/api/v1/monitoring/application"))["pipeline"]["received"] == 0, (
        "no webhook came"
    )

    second = await import_file(engine, WEEK)
    assert (second.accepted, second.duplicate) == (0, EXPECTED["lines"])
    assert await read_figures(engine) == figures
    assert await recount(engine.url, repair=False, on_progress=lambda _: None) == []


def shuffled_lines() -> list[bytes]:
    lines = gzip.decompress(WEEK.read_bytes()).splitlines(keepends=True)
    random.Random(20260302).shuffle(lines)
    return lines


async def test_the_shuffled_week_gives_the_same_figures(engine: Engine, tmp_path: Path) -> None:
    shuffled = tmp_path / "shuffled.ndjson"
    shuffled.write_bytes(b"".join(shuffled_lines()))
    await import_file(engine, shuffled)
    assert_expected(await read_figures(engine))


async def test_the_shuffled_week_in_parts_gives_the_same_final_states(engine: Engine, tmp_path: Path) -> None:
    """Lines of one import are put in order; in several files the log itself is out of order."""
    lines = shuffled_lines()
    for number in range(5):
        part = tmp_path / f"part-{number}.ndjson"
        part.write_bytes(b"".join(lines[number::5]))
        await import_file(engine, part)
    assert (
        dict(await engine.rows("SELECT status, count(*) FROM messages GROUP BY status"))
        == EXPECTED["status_breakdown"]
    )
    figures = await read_figures(engine)
    assert figures["delivery"]["conflicts"] == EXPECTED["conflicts"]
    assert figures["delivery"]["execution_summary"]["messages_sent"] == EXPECTED["messages_sent"]
    assert figures["inbound"]["by_intent"] == EXPECTED["inbound"]["by_intent"]
    assert figures["consent"]["consent_analytics"]["stop_users"] == EXPECTED["consent"]["STOP"]
    assert await recount(engine.url, repair=False, on_progress=lambda _: None) == []


async def test_the_week_asked_for_in_another_zone_and_without_its_minutes_gives_the_same_figures(
    database_url: str, tmp_path: Path
) -> None:
    """Only the local days differ, which the oracle counts; the window is written in local time."""
    zone, now = ZoneInfo("Asia/Kathmandu"), datetime(2026, 3, 12, tzinfo=UTC)
    settings = make_settings(tmp_path, TIMEZONE=zone.key)
    local = {
        name: datetime.fromisoformat(at).astimezone(zone).replace(tzinfo=None).isoformat()
        for name, at in WINDOW.items()
    }
    since, until = (datetime.fromisoformat(WINDOW[name]) for name in ("since", "until"))
    async with (
        running_engine(database_url, settings, SettableClock(now)) as engine,
        await connect(database_url, "test") as conn,
        await open_projector(database_url) as projector,
    ):
        await import_file(engine, WEEK)
        await export_rows(conn, tmp_path)
        with closing(Oracle(tmp_path, zone, now)) as oracle:
            assert oracle.count(since, until, {}).by_status == EXPECTED["status_breakdown"]
            by_day = oracle.inbound(since, until).by_day
        assert by_day != EXPECTED["inbound"]["by_day"]
        figures = await read_figures(engine, local)
        assert figures["inbound"]["by_day"] == by_day
        figures["inbound"]["by_day"] = EXPECTED["inbound"]["by_day"]
        assert_expected(figures)

        is_settled = True
        while is_settled:
            async with transaction(projector):
                is_settled = await rollups.settle_day(projector, now)
        async with transaction(projector):
            await rollups.drop_old_minutes(projector, now + rollups.MINUTES_KEPT)
        assert await engine.rows("SELECT count(*) FROM message_rollups WHERE grain = 'minute'") == [(0,)]
        later = await read_figures(engine, local)
        later["inbound"]["by_day"] = EXPECTED["inbound"]["by_day"]
        assert later == figures
