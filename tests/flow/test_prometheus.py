"""Debian's Prometheus on a running engine: it scrapes with a key of its own, its sums are the API's, its rules load."""

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from event_stream_engine.access.credentials import add_api_key
from event_stream_engine.access.roles import Role
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.webhooks import sign_request
from event_stream_engine.monitoring.instruments import INSTRUMENTS
from tests.engine import ACCOUNT_SID, LIVE, TOKEN

DEPLOY = Path(__file__).parents[2] / "deploy" / "prometheus"
Result = dict[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Running:
    """An engine of two web processes and a worker, and a Prometheus that scrapes it every second."""

    engine: httpx.AsyncClient
    prometheus: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        answer = await self.engine.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ask(self, path: str, **parameters: str) -> Any:
        answer = await self.prometheus.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def query(self, expression: str) -> Result:
        """Return the value of each series by its labels, in the order of their names."""
        rows = (await self.ask("query", query=expression))["result"]
        return {
            tuple(label for _, label in sorted(row["metric"].items())): float(row["value"][1]) for row in rows
        }

    async def post(self, kind: str, **form: str) -> int:
        path = f"/webhooks/{kind}"
        form |= {"AccountSid": ACCOUNT_SID}
        signature = sign_request(TOKEN, f"{str(self.engine.base_url).rstrip('/')}{path}", form)
        headers = {
            "x-twilio-signature": signature,
            "content-type": "application/x-www-form-urlencoded",
        }
        return (await self.engine.post(path, content=urlencode(form), headers=headers)).status_code


@asynccontextmanager
async def running_program(
    command: list[str], ready: str, log: Path, environment: Mapping[str, str]
) -> AsyncIterator[None]:
    """Run a program until the block ends; go on when the address `ready` answers 200."""
    with log.open("wb") as written:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=written, stderr=written)
    try:
        async with asyncio.timeout(60), httpx.AsyncClient() as client:
            while True:
                assert process.poll() is None, log.read_text()
                try:
                    if (await client.get(ready)).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        yield
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 30)


@pytest.fixture
async def running(database_url: str, tmp_path: Path, free_port: int) -> AsyncIterator[Running]:
    prometheus = shutil.which("prometheus")
    assert prometheus is not None, "no Prometheus: run `make test`, which installs it or says how"
    roles, now = (Role.metrics, Role.viewer), SystemClock().now()
    async with await connect(database_url, "test") as conn, transaction(conn):
        keys = {role: (await add_api_key(conn, role.value, role, now)).key for role in roles}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        beside = probe.getsockname()[1]
    engine, own = f"http://127.0.0.1:{free_port}", f"127.0.0.1:{beside}"
    example = (DEPLOY / "prometheus.yml").read_text("utf-8")
    (tmp_path / "prometheus.yml").write_text(
        example.replace("127.0.0.1:8000", f"127.0.0.1:{free_port}").replace(": 15s", ": 1s")
    )
    (tmp_path / "engine-key").write_text(keys[Role.metrics])
    shutil.copy(DEPLOY / "rules.yml", tmp_path)
    environment = {
        "ESE_DATA_DIR": str(tmp_path / "engine"),
        "ESE_DATABASE_URL": database_url,
        "ESE_PORT": str(free_port),
        "ESE_SECRET_KEY": LIVE.secret_key,
        "ESE_TWILIO_AUTH_TOKEN": TOKEN,
        "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "ESE_PROVIDER": "simulator",
        "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
    }
    up = [sys.executable, "-m", "event_stream_engine.cli.main", "up", "--workers", "2"]
    scrape = [
        prometheus,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'series'}",
        f"--web.listen-address={own}",
    ]
    headers = {"authorization": f"Bearer {keys[Role.viewer]}"}
    async with (
        running_program(up, f"{engine}/readyz", tmp_path / "engine.log", environment),
        running_program(scrape, f"http://{own}/-/ready", tmp_path / "prometheus.log", {}),
        httpx.AsyncClient(base_url=engine, headers=headers) as asking_engine,
        httpx.AsyncClient(base_url=f"http://{own}") as asking_prometheus,
    ):
        yield Running(asking_engine, asking_prometheus)


# On one version of PostgreSQL: tests/web/test_exposition.py asks both.
@pytest.mark.parametrize("postgres", [None], ids=["pg18"], indirect=True)
async def test_prometheus_says_what_the_api_says(running: Running) -> None:
    for number, end in enumerate(("delivered", "delivered", "read", "undelivered", "delivered", "")):
        form = {"MessageSid": f"SM{number:032x}", "To": f"+1415555{number:04}", "From": "+14155238886"}
        assert await running.post("status", MessageStatus="sent", **form) == 204
        if end:
            assert await running.post("status", MessageStatus=end, ErrorCode="30003", **form) == 204
    stop = {"MessageSid": "SM" + "9" * 32, "From": "+14155550001", "To": "+14155238886", "Body": "STOP"}
    for _ in range(2):  # a repetition
        assert await running.post("inbound", **stop) == 200

    counted: tuple[int, ...] = ()
    async with asyncio.timeout(30):
        while counted != (6, 4, 1, 1):
            await asyncio.sleep(0.1)
            delivery = await running.get("/api/v1/analytics/delivery")
            summary, breakdown = delivery["execution_summary"], delivery["performance_breakdown"]
            inbound = (await running.get("/api/v1/analytics/inbound"))["inbound_analytics"]["volume_metrics"]
            messages = (summary[f"messages_{what}"] for what in ("sent", "delivered", "failed"))
            counted = (*messages, inbound["total_inbound_24h"])
    consent = (await running.get("/api/v1/analytics/consent"))["consent_analytics"]
    expected: dict[str, Result] = {
        "count(up == 1)": {(): 1},
        "sum(ese_messages_sent_total)": {(): summary["messages_sent"]},
        "sum(ese_messages_delivered_total)": {(): summary["messages_delivered"]},
        "sum(ese_messages_failed_total)": {(): summary["messages_failed"]},
        'sum by (status) (ese_recent_messages{window="24h"}) > 0': {
            (status,): count for status, count in breakdown.items() if count
        },
        "sum by (state) (ese_users) > 0": {("STOP",): consent["stop_users"]},
        "sum(ese_inbound_messages_total)": {(): inbound["total_inbound_24h"]},
        "sum by (event_type, outcome) (ese_webhooks_total)": {
            ("inbound.received", "accepted"): 1,
            ("inbound.received", "duplicate"): 1,
            ("receipt.received", "accepted"): 11,
        },
        'sum(ese_webhook_processing_seconds_count{stage="applied"})': {(): 12},
        'sum by (route) (ese_http_requests_total{route=~"/webhooks/.*"})': {
            ("/webhooks/inbound",): 2,
            ("/webhooks/status",): 11,
        },
        'sum(ese_pool_connections{state="max"})': {(): 20},
        "sum by (kind) (ese_processes)": {("web",): 2, ("worker",): 1},
        'ese:messages:delivery_ratio{window="24h"} * 6': {("24h", "event-stream-engine")[::-1]: 4},
    }
    found: dict[str, Result] = {}
    try:
        async with asyncio.timeout(20):
            while found != expected:
                await asyncio.sleep(0.2)
                found = {query: await running.query(query) for query in expected}
    except TimeoutError:
        assert found == expected

    application = (await running.get("/api/v1/monitoring/application"))["application_performance"]
    routes = {route: row["requests"] for route, row in application["endpoint_performance"].items()}
    assert (routes["/webhooks/inbound"], routes["/webhooks/status"]) == (2, 11)

    targets = (await running.ask("targets"))["activeTargets"]
    assert [(target["health"], target["lastError"]) for target in targets] == [("up", "")]
    rules = [rule for group in (await running.ask("rules"))["groups"] for rule in group["rules"]]
    written = re.findall(r"- (?:alert|record): (\S+)", (DEPLOY / "rules.yml").read_text("utf-8"))
    assert sorted(rule["name"] for rule in rules) == sorted(written)
    assert {rule.get("lastError", "") for rule in rules} == {""}
    families = {name.removesuffix("_total") for name in await running.ask("metadata")}
    assert {name.removesuffix("_total") for name in INSTRUMENTS} <= families
