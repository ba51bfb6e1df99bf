"""How fast the engine is, as the API answers it: known traffic over two web processes, found as it was."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from event_stream_engine.infra.database import connect
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.monitoring import requests
from event_stream_engine.web.vitals import Meters
from tests.engine import make_settings, project_all, running_engine

NOW = datetime(2026, 3, 2, 12, 30, 20, tzinfo=UTC)
PATH = "/api/v1/monitoring/application"
FORM = {"From": "+15005550006", "To": "+14155551234", "MessageStatus": "sent", "AccountSid": "AC" + "5e" * 16}


async def happen(url: str, *traffic: tuple[str, int, int, int, int]) -> None:
    """Measure requests in two web processes at once. Shape: route, status, milliseconds, how many, seconds before NOW."""
    meters = (Meters(lambda: 0), Meters(lambda: 0))
    for route, status, ms, count, seconds in traffic:
        for number in range(count):
            measured = meters[number % 2].requests
            measured.note((route, "GET", status), -ms * 1_000_000, 0)
        for one in meters:
            await one.requests.fold(NOW - timedelta(seconds=seconds))
    async with await connect(url, "test") as one, await connect(url, "test") as other:
        told = zip((one, other), meters, strict=True)
        await asyncio.gather(*(requests.tell(conn, each.requests, NOW) for conn, each in told))


async def test_known_traffic_is_found_in_every_object_as_it_was(database_url: str, tmp_path: Path) -> None:
    await happen(
        database_url,
        ("/api/v1/campaigns", 200, 100, 90, 30),  # the last 60 seconds, and the last full minute
        ("/api/v1/campaigns", 500, 300, 6, 30),
        ("/api/v1/users", 404, 20, 24, 30),
        ("/api/v1/users", 200, 40, 80, 80),  # the last 5 minutes
        ("/api/v1/users", 503, 1000, 10, 20_000),  # of today
    )
    async with running_engine(database_url, make_settings(tmp_path), SettableClock(NOW)) as engine:
        now = (await engine.get(PATH))["application_performance"]
        assert now["api_metrics"] == {
            "requests_per_second": 2.0,
            "average_response_time_ms": round((90 * 100 + 6 * 300 + 24 * 20 + 80 * 40) / 200, 2),
            "error_rate_percent": 3.0,
            "throughput_24h": 210,
            "p50_ms": pytest.approx(40, rel=0.01),
            "p95_ms": pytest.approx(100, rel=0.01),
            "p99_ms": pytest.approx(300, rel=0.01),
        }
        campaigns, users = (now["endpoint_performance"][f"/api/v1/{name}"] for name in ("campaigns", "users"))
        assert (campaigns["requests"], campaigns["avg_time_ms"], campaigns["failed"]) == (96, 112.5, 6)
        assert campaigns["error_rate_percent"] == 6.25
        assert campaigns["p95_ms"] == pytest.approx(300, rel=0.01)
        assert (users["requests"], users["failed"], users["error_rate_percent"]) == (114, 10, 8.77)
        assert campaigns["share_of_time_percent"] + users["share_of_time_percent"] == pytest.approx(100)

        metrics = (await engine.get("/api/v1/monitoring/dashboard"))["performance_metrics"]
        assert metrics["average_response_time_ms"] == now["api_metrics"]["average_response_time_ms"]
        assert metrics["error_rate_percent"] == 3.0
        assert metrics["requests_per_minute"] == 120

        hour = (await engine.get(PATH, period="1h"))["application_performance"]["api_metrics"]
        assert (hour["requests_per_second"], hour["throughput_24h"]) == (round(200 / 3600, 2), 200)
        before = await engine.get(PATH, since="2026-03-01T00:00:00Z", until="2026-03-02T00:00:00Z")
        assert before["application_performance"]["api_metrics"]["average_response_time_ms"] is None
        reason = before["unknown"]["application_performance.api_metrics.average_response_time_ms"]
        assert reason == "No request ended in this period."


async def test_every_webhook_is_received_once_and_ends_in_one_place(
    database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    settings = [make_settings(tmp_path / name) for name in ("one", "other")]
    async with (
        running_engine(database_url, settings[0], clock) as one,
        running_engine(database_url, settings[1], clock, "other") as other,
    ):
        for number in range(20):
            form = FORM | {"MessageSid": f"SM{number % 15:032x}"}
            await (one if number % 2 else other).post_webhook("/webhooks/status", form)
        for number in range(3):
            await one.post_webhook("/webhooks/status", FORM | {"MessageSid": f"SM{number}"}, token="0" * 32)
        await other.anonymous.post("/webhooks/inbound", content=b"Body=no+signature")
        await other.post_webhook("/webhooks/status", FORM | {"MessageSid": "SM9", "MessageStatus": "strange"})
        async with asyncio.timeout(15):  # the first ones may have come by way of the disk
            while (await one.rows("SELECT sum(events)::int FROM intake_counts WHERE outcome <> 'spooled'"))[
                0
            ][0] != 25:
                await asyncio.sleep(0.05)
    assert await project_all(database_url) == 16

    async with running_engine(database_url, settings[0], clock, "third") as engine:
        found = (await engine.get(PATH, period="1h"))["pipeline"]
        asked = "SELECT sum(requests)::int FROM request_rollups WHERE grain = 'quarter' AND route LIKE '/webhooks/%%'"
        assert found["received"] == (await engine.rows(asked))[0][0] == 25
        assert found["rejected"] == {"wrong signature": 3, "content type": 1}
        assert (found["accepted"], found["duplicate"], found["refused"]) == (16, 5, 0)
        stored, applied = await engine.rows(
            "SELECT stage, events, dead, (SELECT sum(sketch_count(e)) FROM unnest(sketch) AS e) FROM pipeline_rollups"
            " WHERE grain = 'total' ORDER BY stage DESC"
        )
        assert stored == ("stored", 21, 0, 21)
        assert applied == ("applied", 15, 1, 15)


async def test_every_request_counts_under_its_route_and_none_under_its_path(
    database_url: str, tmp_path: Path, clock: SettableClock
) -> None:
    async with running_engine(database_url, make_settings(tmp_path), clock) as engine:
        for path in (
            "/",
            "/healthz",
            "/monitoring",
            "/api/v1/monitoring/dashboard",
            "/api/v1/campaigns/00000000-0000-0000-0000-000000000000",
            "/campaigns/00000000-0000-0000-0000-000000000000",
            "/static/console.css",
            "/static/gone.css",
            "/no/such/address",
            "/campaigns/",
            "/webhooks/strange",
        ):
            await engine.client.get(path, headers={"accept": "text/html"})
        await engine.anonymous.get("/api/v1/users")
        await engine.client.delete("/healthz")
        await engine.client.request("BREW", "/coffee")
    async with await connect(database_url, "test") as conn:
        rows = await (
            await conn.execute(
                "SELECT route, method, status_class, requests FROM request_totals ORDER BY 1, 2, 3"
            )
        ).fetchall()
    assert rows == [
        ("/", "GET", "3xx", 1),
        ("/api/v1/campaigns/{campaign_id}", "GET", "4xx", 1),
        ("/api/v1/monitoring/dashboard", "GET", "2xx", 1),
        ("/api/v1/users", "GET", "4xx", 1),
        ("/campaigns/{campaign_id}", "GET", "4xx", 1),
        ("/healthz", "DELETE", "4xx", 1),
        ("/healthz", "GET", "2xx", 1),
        ("/monitoring", "GET", "2xx", 1),
        ("/static", "GET", "2xx", 1),
        ("/static", "GET", "4xx", 1),
        ("unmatched", "GET", "3xx", 1),
        ("unmatched", "GET", "4xx", 2),
        ("unmatched", "other", "4xx", 1),
    ]
