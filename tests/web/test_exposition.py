"""/metrics: what is declared is what is exposed, what it says is what the API says, and a counter never falls."""

import asyncio

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from event_stream_engine.access.credentials import add_api_key, add_operator
from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.totals import Distribution
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.stats import sketch_index
from event_stream_engine.monitoring import readings
from event_stream_engine.monitoring.instruments import INSTRUMENTS
from event_stream_engine.monitoring.readings import count_up_to
from event_stream_engine.stream import log
from tests.engine import ACCOUNT_SID, Engine

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read_samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


async def scrape(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.setattr(readings, "FRESH_SECONDS", 0.0)
    answer = await engine.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return read_samples(answer.text)


async def project(engine: Engine, webhooks: int) -> None:
    """Project when so many have come to the log: the first ones go through the spool while the engine connects."""
    async with asyncio.timeout(20):
        while await engine.rows("SELECT coalesce(sum(events), 0)::int FROM intake_counts") < [(webhooks,)]:
            await asyncio.sleep(0.02)
    await engine.project()


async def post_status(engine: Engine, number: int, status: str, **more: str) -> None:
    form = {"MessageStatus": status, "To": "+14155551234", "From": "+14155238886"}
    sid = f"SM{number:032x}"
    answer = await engine.post_webhook(
        "/webhooks/status", form | {"AccountSid": ACCOUNT_SID, "MessageSid": sid} | more
    )
    assert answer.status_code == 204


async def test_exactly_the_declared_instruments_are_exposed(engine: Engine) -> None:
    text = (await engine.client.get("/metrics")).text
    exposed = {}
    for family in text_string_to_metric_families(text):
        # The reader takes `_total` off a counter's name.
        name = f"{family.name}_total" if family.type == "counter" else family.name
        exposed[name] = (family.type, family.documentation)
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(INSTRUMENTS[name].labels)
    assert exposed == {name: (one.kind, one.help) for name, one in INSTRUMENTS.items()}


def test_every_name_tells_its_unit_and_a_counter_ends_in_total() -> None:
    for instrument in INSTRUMENTS.values():
        assert instrument.name.startswith("ese_")
        assert instrument.name.endswith("_total") == (instrument.kind == "counter")
        if instrument.unit:
            assert instrument.name.endswith(f"_{instrument.unit}")
        assert instrument.unit in ("", "seconds", "bytes", "ratio")
        assert bool(instrument.bounds) == (instrument.kind == "histogram")


async def test_openmetrics_is_spoken_to_who_asks_for_it(engine: Engine) -> None:
    answer = await engine.client.get(
        "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in parse_openmetrics(answer.text)} == {
        name.removesuffix("_total") for name in INSTRUMENTS
    }


async def test_a_key_of_the_role_metrics_reads_metrics_and_nothing_else(
    engine: Engine, clock: SettableClock
) -> None:
    async with await connect(engine.url, "test") as conn, transaction(conn):
        key = (await add_api_key(conn, "prometheus", Role.metrics, clock.now())).key
    headers = {"authorization": f"Bearer {key}"}
    assert (await engine.anonymous.get("/metrics", headers=headers)).status_code == 200
    assert (await engine.anonymous.get("/metrics")).status_code == 401
    for path in ("/api/v1/monitoring/dashboard", "/api/v1/users", "/api/v1/openapi.json", "/monitoring"):
        assert (await engine.anonymous.get(path, headers=headers)).status_code == 403


async def test_a_person_cannot_have_the_role_metrics(engine: Engine, clock: SettableClock) -> None:
    async with await connect(engine.url, "test") as conn:
        with pytest.raises(Invalid, match="for API keys"):
            await add_operator(
                conn,
                "a@b.example",
                name="A",
                password="a long enough one",
                role=Role.metrics,
                now=clock.now(),
            )


async def test_the_sums_are_those_of_the_api(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 8):
        await post_status(engine, number, "sent")
    for number in range(1, 5):
        await post_status(engine, number, "delivered")
    await post_status(engine, 1, "read")
    await post_status(engine, 5, "undelivered", ErrorCode="30003")
    await post_status(engine, 5, "undelivered", ErrorCode="30003")  # a repetition
    await post_status(engine, 8, "failed", ErrorCode="21211")
    form = {"Body": "STOP", "From": "+14155551234", "To": "+14155238886"}
    await engine.post_webhook(
        "/webhooks/inbound", form | {"AccountSid": ACCOUNT_SID, "MessageSid": "SM" + "9" * 32}
    )
    await engine.anonymous.post("/webhooks/status", content=b"")  # no form, no signature
    await project(engine, 16)  # 15 events, one repetition

    said = await engine.get("/api/v1/analytics/delivery")
    samples = await scrape(engine, monkeypatch)
    summary, breakdown = said["execution_summary"], said["performance_breakdown"]
    assert at(samples, "ese_messages_sent_total") == summary["messages_sent"] == 7
    assert at(samples, "ese_messages_delivered_total") == summary["messages_delivered"] == 4
    assert at(samples, "ese_messages_read_total") == breakdown["READ"] == 1
    failed = {code: at(samples, "ese_messages_failed_total", error_code=code) for code in ("30003", "21211")}
    assert failed == {"30003": 1, "21211": 1}
    assert sum(failed.values()) == summary["messages_failed"]
    for status, count in breakdown.items():
        assert at(samples, "ese_recent_messages", window="24h", status=status) == count
    assert at(samples, "ese_recent_messages_sent", window="1h") == 7
    assert at(samples, "ese_delivery_seconds_count") == 4
    assert at(samples, "ese_users", state="STOP") == 1
    assert at(samples, "ese_inbound_messages_total", intent="stop") == 1
    assert at(samples, "ese_consent_transitions_total", from_state="UNKNOWN", to_state="STOP") == 1
    receipts = {"event_type": "receipt.received", "reason": ""}
    assert at(samples, "ese_webhooks_total", outcome="accepted", **receipts) == 14
    assert at(samples, "ese_webhooks_total", outcome="duplicate", **receipts) == 1
    assert at(samples, "ese_webhook_processing_seconds_count", stage="applied") == 15
    assert at(samples, "ese_events_projected_total") == 15


async def test_a_counter_does_not_fall_when_a_figure_does(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await post_status(engine, 1, "sent")
    await post_status(engine, 1, "undelivered", ErrorCode="30003")
    await project(engine, 2)
    before = await scrape(engine, monkeypatch)
    await post_status(engine, 1, "delivered")
    await project(engine, 3)
    after = await scrape(engine, monkeypatch)
    assert at(before, "ese_recent_messages", window="1h", status="UNDELIVERED") == 1
    assert at(after, "ese_recent_messages", window="1h", status="UNDELIVERED") == 0
    assert at(after, "ese_messages_failed_total", error_code="30003") == 1
    assert at(after, "ese_messages_delivered_total") == 1
    counters = [name for name, one in INSTRUMENTS.items() if one.kind != "gauge"]
    for (name, labels), value in before.items():
        if name.startswith(tuple(counters)):
            assert after[name, labels] >= value


async def test_webhooks_of_long_ago_are_added_up_and_still_counted(engine: Engine) -> None:
    await post_status(engine, 1, "sent")
    await project(engine, 1)
    async with await connect(engine.url, "test") as conn:
        await conn.execute("UPDATE intake_counts SET minute = minute - interval '102 days'")
        await post_status(engine, 2, "sent")
        await project(engine, 2)
        before = await log.list_intake_totals(conn)
        (now,) = (await (await conn.execute("SELECT now()")).fetchone()) or ()
        await log.add_up_intake(conn, now)
        await log.add_up_intake(conn, now)
        assert await log.list_intake_totals(conn) == before
    assert await engine.rows("SELECT events FROM intake_totals WHERE outcome <> 'spooled'") == [(1,)]
    assert await engine.rows("SELECT events FROM intake_counts WHERE outcome <> 'spooled'") == [(1,)]


async def test_scrapes_one_after_the_other_share_a_reading(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    read = readings.read_instruments

    async def counted(*arguments: object) -> readings.Readings:
        nonlocal taken
        taken += 1
        return await read(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(readings, "read_instruments", counted)
    monkeypatch.setattr(readings, "FRESH_SECONDS", 3600.0)
    for _ in range(3):
        assert (await engine.client.get("/metrics")).status_code == 200
    assert taken == 1


@pytest.mark.parametrize("seconds", [0.0001, 0.0099, 0.0101, 0.24, 0.26, 4.0, 100.0])
def test_a_bucket_holds_what_is_not_above_its_bound(seconds: float) -> None:
    bounds = (0.01, 0.25, 5.0)
    counts = count_up_to(
        bounds,
        Distribution([[(sketch_index(seconds) << 40) + 2], [(sketch_index(seconds) << 40) + 1]], seconds * 3),
    )
    assert counts == [3 * (seconds <= bound) for bound in bounds] + [3]


async def test_requests_are_counted_by_class_and_timed_by_route(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await connect(engine.url, "test") as conn:
        for status_class, milliseconds in (("2xx", 4), ("2xx", 40), ("5xx", 400)):
            await conn.execute(
                """INSERT INTO request_rollups AS r
                   SELECT 'total', '-infinity', '/somewhere/{id}', 'GET', %s, 1, 0, us, us, us, sketch_of(us) FROM (SELECT %s * 1000::bigint) AS t (us)
                   ON CONFLICT (grain, bucket, route, method, status_class) DO UPDATE
                   SET requests = r.requests + 1, microseconds = r.microseconds + excluded.microseconds, sketch = sketch_add(r.sketch, excluded.sketch)""",
                (status_class, milliseconds),
            )
    samples = await scrape(engine, monkeypatch)
    route = {"route": "/somewhere/{id}", "method": "GET"}
    assert at(samples, "ese_http_requests_total", status_class="2xx", **route) == 2
    assert at(samples, "ese_http_requests_total", status_class="5xx", **route) == 1
    assert at(samples, "ese_http_request_seconds_count", **route) == 3
    assert at(samples, "ese_http_request_seconds_sum", **route) == pytest.approx(0.444)
    buckets = {
        le: at(samples, "ese_http_request_seconds_bucket", le=le, **route)
        for le in ("0.0025", "0.005", "0.05", "0.5", "+Inf")
    }
    assert buckets == {"0.0025": 0, "0.005": 1, "0.05": 2, "0.5": 3, "+Inf": 3}
