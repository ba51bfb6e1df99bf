"""Figures over HTTP: what is unknown, windows, zones, filters, and refused questions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.stream.log import append_events
from tests.document import list_figures
from tests.engine import ACCOUNT_SID, Engine, make_settings, running_engine

DOCUMENT = list_figures()
FILTERED = ["/api/v1/analytics/delivery", "/api/v1/analytics/errors"]
FILTERED_BY_CHANNEL = [*FILTERED, "/api/v1/analytics/inbound"]
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def happen(engine: Engine, *webhooks: tuple[datetime, str, dict[str, str]]) -> None:
    """Let webhooks have come in at given instants, and project them."""
    events = [
        make_event(
            kind, {"AccountSid": ACCOUNT_SID, "To": "+14155551234", "From": "+447776105348"} | form, at, None
        )
        for at, kind, form in webhooks
    ]
    async with await connect(engine.url, "test") as conn:
        await append_events(conn, events, source=uuid4(), counted_at=NOON, is_live=False)
    await engine.project()


def receipt(at: datetime, sid: str, status: str, **more: str) -> tuple[datetime, str, dict[str, str]]:
    return at, "receipt", {"MessageSid": sid, "MessageStatus": status, **more}


def inbound(at: datetime, sid: str, body: str, **more: str) -> tuple[datetime, str, dict[str, str]]:
    return at, "inbound", {"MessageSid": sid, "Body": body, **more}


async def happen_a_bit_of_all(engine: Engine, at: datetime) -> None:
    await happen(
        engine,
        receipt(at, "SM1", "sent"),
        receipt(at + timedelta(seconds=3), "SM1", "delivered"),
        receipt(at, "SM2", "failed", ErrorCode="30003"),
        inbound(at + MINUTE, "SM3", "where is my order?", From="+14155551234"),
        inbound(at + MINUTE, "SM4", "STOP", From="+14155551235"),
    )


async def test_what_other_parts_will_supply_is_null_with_a_reason(engine: Engine) -> None:
    answer = await engine.get("/api/v1/monitoring/dashboard")
    assert answer["unknown"]["system_health.redis_memory_usage_mb"] == "not configured"
    kpis = {kpi["slug"]: kpi for kpi in answer["kpis"]}
    assert list(kpis) == [
        "active_campaigns",
        "total_users",
        "opt_in_rate",
        "message_volume",
        "delivery_rate",
        "system_uptime",
    ]
    assert all(kpi["reason"] for kpi in kpis.values() if kpi["value"] is None)


async def add_campaign(engine: Engine, name: str, state: str, **transitions: timedelta) -> UUID:
    """Put a campaign into the database with its changes of state, each as long ago as given."""
    now, campaign_id = datetime.now(UTC), uuid4()
    segment_id, template_id = uuid4(), uuid4()
    ago = {action: now - age for action, age in transitions.items()}
    ended_at = ago.get("completed") or ago.get("cancelled")
    async with await connect(engine.url, "test") as conn, transaction(conn):
        values = {
            "s": segment_id,
            "t": template_id,
            "c": campaign_id,
            "name": name,
            "state": state,
            "now": now,
        }
        await conn.execute("INSERT INTO segments VALUES (%(s)s, %(name)s, '{}', %(now)s, %(now)s)", values)
        await conn.execute(
            "INSERT INTO templates VALUES (%(t)s, %(name)s, 'sms', 'en', 'Hi', NULL, '{}', %(now)s, %(now)s)",
            values,
        )
        await conn.execute(
            "INSERT INTO campaigns (id, name, segment_id, template_id, sender, rate_per_second, state, created_by,"
            " created_at, updated_at, started_at, finished_at) VALUES (%(c)s, %(name)s, %(s)s, %(t)s, '+14155238886', 1,"
            " %(state)s, 'operator:ana', %(now)s, %(now)s, %(started_at)s, %(finished_at)s)",
            values | {"started_at": ago["started"], "finished_at": ended_at},
        )
        for action, at in ago.items():
            entry = Entry(at, f"campaign.{action}", f"campaign:{campaign_id}")
            await record(conn, Actor("operator:ana"), entry)
    return campaign_id


async def test_active_campaigns_are_those_running_now_and_at_each_moment_before(engine: Engine) -> None:
    hour = timedelta(hours=1)
    await add_campaign(engine, "a", "running", started=8.5 * hour)
    await add_campaign(engine, "b", "running", started=8.5 * hour, paused=6.5 * hour, resumed=2.5 * hour)
    await add_campaign(engine, "c", "completed", started=30 * hour, completed=4.5 * hour)
    await add_campaign(engine, "d", "paused", started=3.5 * hour, paused=1.5 * hour)
    answer = await engine.get("/api/v1/monitoring/dashboard")
    assert answer["system_health"]["active_campaigns"] == 2
    kpi = next(kpi for kpi in answer["kpis"] if kpi["slug"] == "active_campaigns")
    assert (kpi["value"], kpi["change"], kpi["reason"]) == (2, 1, None)
    changes = [kpi["points"][0]]
    for point in kpi["points"]:
        if point != changes[-1]:
            changes.append(point)
    assert changes == [1, 3, 2, 1, 2, 3, 2]


async def test_a_period_without_traffic_has_zero_counts_and_null_rates(engine: Engine) -> None:
    await happen_a_bit_of_all(engine, NOON)
    window = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    delivery = await engine.get("/api/v1/analytics/delivery", **window)
    summary = delivery["execution_summary"]
    assert {name: value for name, value in summary.items() if value != 0} == {
        "delivery_rate_percent": None,
        "error_rate_percent": None,
        "execution_duration_minutes": None,
    }
    assert set(delivery["performance_breakdown"].values()) == {0}
    assert set(delivery["timing_analysis"]["delivery_time_percentiles"].values()) == {None}
    errors = (await engine.get("/api/v1/analytics/errors", **window))["error_analysis"]
    assert errors == {
        "error_breakdown": {},
        "top_error_countries": [],
        "error_trends": {"last_24h": 0, "previous_24h": 0, "trend": "stable"},
        "retries": {},
    }
    volume = (await engine.get("/api/v1/analytics/inbound", **window))["inbound_analytics"]["volume_metrics"]
    assert volume == {
        "total_inbound_24h": 0,
        "unique_senders": 0,
        "messages_per_user_avg": None,
        "peak_hour": None,
        "peak_volume": 0,
    }


async def test_a_window_contains_its_beginning_and_not_its_end(engine: Engine) -> None:
    microsecond = timedelta(microseconds=1)
    since, until = NOON + timedelta(seconds=7.5), NOON + timedelta(minutes=47, seconds=11.25)
    instants = [since - microsecond, since, until - microsecond, until]
    for number, at in enumerate(instants):
        await happen(
            engine,
            receipt(at, f"SM1{number}", "failed", ErrorCode=str(30001 + number)),
            inbound(at, f"SM2{number}", "STOP", From=f"+1415555000{number}"),
        )
    window = {"since": since.isoformat(), "until": until.isoformat()}
    delivery = await engine.get("/api/v1/analytics/delivery", **window)
    assert delivery["performance_breakdown"]["FAILED"] == 2
    analysis = (await engine.get("/api/v1/analytics/errors", **window))["error_analysis"]
    assert set(analysis["error_breakdown"]) == {"30002", "30003"}
    assert analysis["error_trends"]["previous_24h"] == 1
    volume = (await engine.get("/api/v1/analytics/inbound", **window))["inbound_analytics"]["volume_metrics"]
    assert volume["total_inbound_24h"] == 2
    trends = (await engine.get("/api/v1/analytics/consent", **window))["consent_analytics"]["consent_trends"]
    assert trends["stop_commands_24h"] == 2
    assert trends["daily_opt_outs"]["today"] == 3


async def test_filters_split_the_whole(engine: Engine) -> None:
    await happen(
        engine,
        receipt(NOON, "SM1", "failed", To="whatsapp:+447776105348", ErrorCode="63016"),
        receipt(NOON, "SM2", "failed", ErrorCode="30003"),
        receipt(NOON, "SM3", "delivered"),
    )
    window = {"since": "2026-03-02T00:00:00Z", "until": "2026-03-03T00:00:00Z"}

    async def count(**filters: str) -> tuple[int, int]:
        delivery = await engine.get("/api/v1/analytics/delivery", **window, **filters)
        errors = await engine.get("/api/v1/analytics/errors", **window, **filters)
        assert errors["messages_failed"] == delivery["execution_summary"]["messages_failed"]
        return delivery["execution_summary"]["total_recipients"], errors["messages_failed"]

    assert await count() == (3, 2)
    assert await count(channel="whatsapp") == await count(country="GB") == (1, 1)
    assert await count(channel="sms") == await count(country="US") == (2, 1)
    assert await count(channel="sms", country="GB") == (0, 0)
    for name in ("campaign_id", "template_id"):
        assert (await engine.client.get(FILTERED[0], params={name: str(uuid4())})).status_code == 404


async def test_hours_and_days_are_those_of_the_workspace(database_url: str, tmp_path: Path) -> None:
    """In Kathmandu, 5:45 ahead, 18:10 UTC is 23:55, and 18:20 UTC is 00:05 of the next day."""
    settings = make_settings(tmp_path, TIMEZONE="Asia/Kathmandu")
    clock = SettableClock(NOON.replace(hour=23))
    async with running_engine(database_url, settings, clock) as engine:
        evening, night = NOON.replace(hour=18, minute=10), NOON.replace(hour=18, minute=20)
        await happen(
            engine,
            inbound(evening, "SM1", "hello"),
            inbound(night, "SM2", "hello"),
            inbound(night + 30 * MINUTE, "SM3", "STOP"),
            inbound(night + 60 * MINUTE, "SM4", "hello"),
        )
        answer = await engine.get("/api/v1/analytics/inbound")
        assert answer["time_zone"] == "Asia/Kathmandu"
        assert answer["by_day"] == {"2026-03-02": {"general": 1}, "2026-03-03": {"general": 2, "stop": 1}}
        volume = answer["inbound_analytics"]["volume_metrics"]
        assert (volume["peak_hour"], volume["peak_volume"]) == ("00:00-01:00", 2)
        consent = (await engine.get("/api/v1/analytics/consent"))["consent_analytics"]
        assert consent["consent_trends"]["daily_opt_outs"] == {
            "today": 1,
            "yesterday": 0,
            "trend": "worsening",
        }
        local = {"since": "2026-03-03T00:00:00", "until": "2026-03-03T01:00:00"}
        answer = await engine.get("/api/v1/analytics/inbound", **local)
        assert answer["window"] == {"since": "2026-03-02T18:15:00Z", "until": "2026-03-02T19:15:00Z"}
        assert answer["inbound_analytics"]["volume_metrics"]["total_inbound_24h"] == 2


async def test_the_past_of_the_opt_in_rate_is_told_apart_by_steps_of_minutes(
    database_url: str, tmp_path: Path
) -> None:
    """Quarter-hours would put the consent of 12:08 before 12:05."""
    clock = SettableClock(NOON + MINUTE)
    async with running_engine(database_url, make_settings(tmp_path), clock) as engine:
        await engine.client.post("/api/v1/users", json={"phone_e164": "+14155551234"})
        clock.set(NOON + 8 * MINUTE)
        consent = {"state": "OPT_IN", "evidence": "form"}
        answer = await engine.client.post("/api/v1/users/+14155551234/consent", json=consent)
        assert answer.status_code == 201, answer.text
        await engine.project()
        clock.set(NOON + 20 * MINUTE)
        dashboard = await engine.get("/api/v1/monitoring/dashboard", since=NOON.isoformat())
        kpis = {kpi["slug"]: kpi["points"] for kpi in dashboard["kpis"]}
        assert kpis["total_users"] == [0, 1, 1, 1, 1]
        assert kpis["opt_in_rate"] == [None, 0, 100, 100, 100]


REFUSED = [
    ({"period": "2d"}, "period"),
    ({"period": ""}, "period"),
    ({"since": "yesterday"}, "since"),
    ({"until": "2026-13-01"}, "until"),
    ({"since": "0001-01-01T00:00:00+12:00"}, "since"),
    ({"until": "9999-12-31T23:59:59Z"}, "until"),
    ({"since": "2026-03-02T00:00:00Z", "until": "2026-03-02T00:00:00Z"}, "since"),
    ({"since": "2026-03-03T00:00:00Z", "until": "2026-03-02T00:00:00Z"}, "since"),
    ({"since": "1971-01-01T00:00:00Z", "until": "2026-03-02T00:00:00Z"}, "since"),
    ({"untill": "2026-03-02T00:00:00Z"}, "untill"),
]
REFUSED_FILTERS = [
    ({"channel": "SMS"}, "channel"),
    ({"channel": ""}, "channel"),
    ({"country": "us"}, "country"),
    ({"country": "USA"}, "country"),
    ({"campaign_id": "1"}, "campaign_id"),
]


async def test_a_question_that_is_not_understood_is_refused_by_name(engine: Engine) -> None:
    asked = [(path, *refused) for path in DOCUMENT for refused in REFUSED]
    asked += [(path, *refused) for path in FILTERED for refused in REFUSED_FILTERS]
    asked += [
        (path, {"channel": "sms"}, "channel") for path in DOCUMENT if path not in FILTERED_BY_CHANNEL
    ]  # a filter that would be ignored
    asked += [("/api/v1/analytics/inbound", {"channel": "SMS"}, "channel")]
    asked += [("/api/v1/analytics/inbound", {"country": "US"}, "country")]
    asked += [("/api/v1/monitoring/events", {"limit": limit}, "limit") for limit in ("0", "501", "many")]
    for path, parameters, field in asked:
        answer = await engine.client.get(path, params=parameters)
        assert answer.status_code == 422, (path, parameters, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["field"] == field, (path, parameters)


async def test_without_a_key_there_is_no_answer(engine: Engine) -> None:
    for path in (*DOCUMENT, "/api/v1/monitoring/events", "/api/v1/monitoring/events/stream"):
        assert (await engine.anonymous.get(path)).status_code == 401, path
    for path in ("/healthz", "/readyz"):
        assert (await engine.anonymous.get(path)).status_code == 200, path


async def test_inbound_tells_exactly_or_with_an_interval_who_wrote_and_days_of_a_year_at_most(
    engine: Engine,
) -> None:
    await happen_a_bit_of_all(engine, datetime.now(UTC) - timedelta(minutes=30))
    day = await engine.get("/api/v1/analytics/inbound")
    assert day["unique_senders"] == {"count": 2, "is_exact": True, "interval_95": [2, 2]}
    assert sum(map(sum, day["by_weekday_and_hour"])) == 2
    assert sum(sum(by_intent.values()) for by_intent in day["by_day"].values()) == 2
    assert (await engine.get("/api/v1/analytics/inbound", channel="whatsapp"))["by_intent"]["order"] == 0
    since = (datetime.now(UTC) - timedelta(days=900)).isoformat()
    years = await engine.get("/api/v1/analytics/inbound", since=since)
    low, high = years["unique_senders"]["interval_95"]
    assert low <= 2 <= high
    assert (years["by_day"], set(years["unknown"])) == (None, {"by_day"})
    assert sum(point["order"] for point in years["series"]) == 1


async def test_demographics_sum_to_all_users_and_growth_is_signed_text(engine: Engine) -> None:
    for number, city in enumerate(("Berlin", "Berlin", "Paris")):
        person = {"phone_e164": f"+1415555010{number}", "attributes": {"city": city}}
        assert (await engine.client.post("/api/v1/users", json=person)).status_code == 201
    await engine.project()
    async with await connect(engine.url, "test") as conn:
        before = datetime.now(UTC) - timedelta(days=40)
        await conn.execute(
            "INSERT INTO signup_rollups SELECT grain, bucket_of(grain, %s), 2 FROM (VALUES ('minute'), ('quarter')) AS g (grain)",
            (before,),
        )
    found = await engine.get("/api/v1/analytics/demographics")
    assert found["user_demographics"] == {
        "by_city": {"Berlin": 2, "Paris": 1, "other": 0, "unknown": 0},
        "by_tier": {"other": 0, "unknown": 3},
        "signup_trends": {"last_30_days": 3, "previous_30_days": 2, "growth_rate": "+50%"},
    }
    assert found["rates"]["growth_rate"] == {"numerator": 1, "denominator": 2}
    assert sum(point["signups"] for point in found["series"]) == found["total_users"] == 3
