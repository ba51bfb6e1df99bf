"""OpenTelemetry over real OTLP/HTTP: spans and metrics as a collector gets them, and nothing at all without one."""

import asyncio
import gzip
import json
import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from event_stream_engine.infra import telemetry, tracing
from event_stream_engine.infra.database import connect
from event_stream_engine.infra.logs import configure_logs
from event_stream_engine.infra.settings import Telemetry, load_settings
from event_stream_engine.infra.telemetry import traced
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.monitoring.instruments import INSTRUMENTS
from event_stream_engine.worker.exporter import run_exporter
from tests.engine import ACCOUNT_SID, Engine, make_settings, running_engine
from tests.sending import WatchedProvider, add_campaign, add_people, fill_outbox, send_all

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NUMBER = "+14155551234"


@dataclass(slots=True)
class Collector:
    """What came over the wire."""

    spans: list[Any] = field(default_factory=list)
    metrics: list[Any] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def take_traces(self, request: web.Request) -> web.Response:
        asked = ExportTraceServiceRequest.FromString(await self._read(request))
        for resource in asked.resource_spans:
            self.resources.append(attributes_of(resource.resource))
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString())

    async def take_metrics(self, request: web.Request) -> web.Response:
        asked = ExportMetricsServiceRequest.FromString(await self._read(request))
        for resource in asked.resource_metrics:
            self.resources.append(attributes_of(resource.resource))
            self.metrics += [metric for scope in resource.scope_metrics for metric in scope.metrics]
        return web.Response(body=ExportMetricsServiceResponse().SerializeToString())

    async def _read(self, request: web.Request) -> bytes:
        body = await request.read()  # aiohttp has undone a Content-Encoding
        if body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.raw.append(body)
        return body

    def find_spans(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


def attributes_of(thing: Any) -> dict[str, Any]:
    return {
        pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "string_value")
        for pair in thing.attributes
    }


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch, free_port: int) -> AsyncIterator[Collector]:
    found = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", found.take_traces), web.post("/v1/metrics", found.take_metrics)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", free_port).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    yield found
    await runner.cleanup()


@asynccontextmanager
async def traced_engine(url: str, folder: Path) -> AsyncIterator[Engine]:
    """An engine in spans, which have all been sent when the block is over."""
    async with traced("web"), running_engine(url, make_settings(folder), SystemClock()) as engine:
        yield engine


async def post_status(engine: Engine) -> None:
    form = {"MessageStatus": "sent", "To": NUMBER, "From": "+14155238886", "MessageSid": "SM" + "1" * 32}
    assert (
        await engine.post_webhook("/webhooks/status", form | {"AccountSid": ACCOUNT_SID})
    ).status_code == 204


@pytest.fixture
def _restored_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


async def test_a_request_is_a_span_under_the_callers(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with traced_engine(database_url, tmp_path) as engine:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        assert (await engine.client.get(f"/api/v1/users/{NUMBER}", headers=headers)).status_code == 404
        assert (await engine.anonymous.get("/nowhere")).status_code == 404
    (span,) = collector.find_spans("GET /api/v1/users/{user}")
    assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (
        TRACE,
        PARENT,
        span.SPAN_KIND_SERVER,
    )
    assert attributes_of(span) == {
        "http.request.method": "GET",
        "http.route": "/api/v1/users/{user}",
        "http.response.status_code": 404,
    }
    (other,) = collector.find_spans("GET unmatched")
    assert other.trace_id.hex() != TRACE
    resource = collector.resources[0]
    assert resource["service.name"] == "event-stream-engine"
    assert resource["deployment.environment"] == "test"
    assert resource["ese.process.kind"] == "web"


async def test_the_way_of_a_webhook_is_seen_without_its_number(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with traced_engine(database_url, tmp_path) as engine:
        await post_status(engine)
        async with asyncio.timeout(20):
            while await engine.rows("SELECT count(*) FROM events") == [(0,)]:
                await asyncio.sleep(0.02)
        await engine.project()
    assert len(collector.find_spans("POST /webhooks/status")) == 1
    (stored,) = collector.find_spans("store webhooks")
    assert attributes_of(stored) == {"ese.group.events": 1}
    projected = [attributes_of(span)["ese.batch.events"] for span in collector.find_spans("project batch")]
    assert sum(projected) == 1
    assert not any(NUMBER[1:].encode() in body for body in collector.raw)


async def test_each_call_to_the_provider_is_a_span_with_the_messages_id(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    clock, provider = SystemClock(), WatchedProvider()
    async with await connect(database_url, "test") as conn:
        await add_people(conn, 3, clock.now())
        await fill_outbox(conn, await add_campaign(conn, clock.now(), rate=100), clock.now())
    async with traced("worker"):
        await send_all(database_url, tmp_path, provider, clock)
    calls = collector.find_spans("send message")
    assert [span.kind for span in calls] == [span.SPAN_KIND_CLIENT for span in calls]
    assert {attributes_of(span)["ese.message.id"] for span in calls} == {
        str(message.message_id) for message in provider.taken
    }
    assert {attributes_of(span)["ese.outcome"] for span in calls} == {"accepted"}
    numbers = [message.recipient_phone[1:].encode() for message in provider.taken]
    assert not any(number in body for number in numbers for body in collector.raw)


async def test_a_failure_is_told_by_its_type_alone(collector: Collector) -> None:
    async with traced("worker"):
        with pytest.raises(ValueError, match="5551234"), tracing.span("fail"):
            raise ValueError(f"no route to {NUMBER}")
    (span,) = collector.find_spans("fail")
    assert (span.status.code, span.status.message) == (span.status.STATUS_CODE_ERROR, "ValueError")
    assert not span.events


async def test_a_collector_that_does_not_answer_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path
) -> None:
    monkeypatch.setattr(telemetry, "FAREWELL_SECONDS", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and never says a word
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        stopping = asyncio.Event()
        async with asyncio.timeout(5), traced("worker"):  # the library alone would take ten
            exporting = asyncio.create_task(
                run_exporter(make_settings(tmp_path), database_url, SystemClock(), stopping)
            )
            with tracing.span("work"):
                taken, _ = await asyncio.to_thread(silent.accept)
            stopping.set()
            await exporting
        taken.close()


@pytest.mark.usefixtures("_restored_logs")
async def test_a_line_inside_of_a_span_names_it(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("json")
    async with traced("worker"):
        with tracing.span("work"):
            logging.getLogger("engine").info("inside")
        logging.getLogger("engine").info("outside")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    inside, outside = [line for line in lines if line["logger"] == "engine"]
    (span,) = collector.find_spans("work")
    assert (inside["trace_id"], inside["span_id"]) == (span.trace_id.hex(), span.span_id.hex())
    assert "trace_id" not in outside


async def test_the_exported_metrics_are_those_of_the_scrape(
    database_url: str, tmp_path: Path, collector: Collector
) -> None:
    async with running_engine(database_url, make_settings(tmp_path), SystemClock()) as engine:
        await post_status(engine)
        async with asyncio.timeout(20):
            while await engine.rows("SELECT count(*) FROM events") == [(0,)]:
                await asyncio.sleep(0.02)
        await engine.project()
        stopping = asyncio.Event()
        settings = make_settings(tmp_path)
        exporting = [
            asyncio.create_task(run_exporter(settings, database_url, SystemClock(), stopping))
            for _ in range(2)  # two workers: one exports
        ]
        async with asyncio.timeout(20):
            while not collector.metrics:
                await asyncio.sleep(0.02)
        stopping.set()
        await asyncio.gather(*exporting)
        scraped = {line.split()[0] for line in (await engine.client.get("/metrics")).text.splitlines()}
    assert len(collector.resources) == 1
    found = {metric.name: metric for metric in collector.metrics}
    assert set(found) <= {name.removesuffix("_total") for name in INSTRUMENTS}
    told = {
        name.removesuffix("_total") for name in INSTRUMENTS if any(part.startswith(name) for part in scraped)
    }
    assert set(found) <= told
    sent = found["ese_messages_sent"].sum
    assert sent.is_monotonic
    assert [point.as_int or point.as_double for point in sent.data_points] == [1]
    (times,) = found["ese_webhook_processing_seconds"].histogram.data_points
    assert (times.count, sum(times.bucket_counts), attributes_of(times)) == (1, 1, {"stage": "applied"})
    assert len(times.bucket_counts) == len(times.explicit_bounds) + 1
    assert not times.HasField("min")
    assert found["ese_webhook_processing_seconds"].unit == "s"


def test_nothing_is_exported_and_nothing_imported_unless_a_collector_is_named(tmp_path: Path) -> None:
    assert load_settings({"ESE_DATA_DIR": str(tmp_path)}).telemetry == Telemetry(
        traces=False, metrics=False, interval_seconds=60
    )
    loaded = "import sys, event_stream_engine.cli.main; print([m for m in sys.modules if m.startswith('opentelemetry.')])"
    code = loaded.replace("'opentelemetry.'", "('opentelemetry.sdk', 'opentelemetry.exporter')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert not tracing.is_on()
    assert tracing.span("a") is tracing.span("b")


@pytest.mark.parametrize(
    ("environment", "traces", "metrics"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False, False),
    ],
)
def test_the_standard_variables_say_what_is_exported(
    environment: dict[str, str], traces: bool, metrics: bool, tmp_path: Path
) -> None:
    found = load_settings(environment | {"ESE_DATA_DIR": str(tmp_path)}).telemetry
    assert (found.traces, found.metrics) == (traces, metrics)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "milliseconds"),
    ],
)
def test_what_cannot_be_exported_as_asked_is_a_fault(
    name: str, value: str, fault: str, tmp_path: Path
) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", name: value}
    with pytest.raises(Invalid, match=fault):
        load_settings(environment | {"ESE_DATA_DIR": str(tmp_path)})
