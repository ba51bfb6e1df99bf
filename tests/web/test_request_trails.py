"""What requests leave in the log: one line each with ids, by the route's template; none for webhooks and probes."""

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from event_stream_engine.infra.logs import configure_logs
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.web.api import metrics
from tests.engine import Engine, make_settings, running_engine

NUMBER = "+14155551234"


@pytest.fixture
async def talking(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    async with running_engine(
        database_url, make_settings(tmp_path, LOG_FORMAT="json"), SystemClock()
    ) as engine:
        yield engine
    root.handlers[:], root.level = handlers, level


def read_lines(capsys: pytest.CaptureFixture[str], logger: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in lines if line["logger"].endswith(logger)]


async def test_a_request_leaves_one_line_with_its_id_and_without_a_number(
    talking: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json")
    answer = await talking.client.get(f"/api/v1/users/{NUMBER}", headers={"x-request-id": "mine-1"})
    (line,) = read_lines(capsys, "request_trails")
    assert answer.headers["x-request-id"] == line["request_id"] == "mine-1"
    assert line["message"] == "GET /api/v1/users/{user}: 404"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/api/v1/users/{user}", 404)
    assert line["duration_ms"] > 0


async def test_probes_scrapes_static_files_and_webhooks_leave_no_line(
    talking: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json")
    for path in ("/healthz", "/readyz", "/metrics", "/static/console.css"):
        assert (await talking.client.get(path)).status_code == 200
    assert (
        await talking.post_webhook("/webhooks/status", {"MessageStatus": "sent"}, token="wrong")
    ).status_code == 403
    assert read_lines(capsys, "request_trails") == []


async def test_the_line_of_a_failed_request_names_it(
    talking: Engine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure_logs("json")
    monkeypatch.setattr(metrics, "_DESCRIBED", {})  # a fault of ours
    answer = await talking.client.get("/api/v1/metrics/delivery_rate")
    assert answer.status_code == 500
    (failure,) = read_lines(capsys, "web.errors")
    assert failure["request_id"] == answer.json()["request_id"]
