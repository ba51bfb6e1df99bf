"""The catalogue of metrics: each is answered where it says, each figure answered is in it, and people can read it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any
from uuid import uuid4

from event_stream_engine.analytics.catalogue import METRICS, SUBJECTS
from event_stream_engine.analytics.compliance_check import prepare_check
from event_stream_engine.analytics.metric import PERFORMANCE
from event_stream_engine.incidents.actions import Seen, resolve
from event_stream_engine.incidents.following import follow
from event_stream_engine.incidents.incidents import list_incidents
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.insights import following
from event_stream_engine.insights.aftermath import FIGURES, DayCount, judge
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Advice, Evidence, Interval, Recommendation
from event_stream_engine.insights.recommendations import Run, run_all
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging import outcomes
from event_stream_engine.monitoring import pipeline, requests
from event_stream_engine.monitoring.pipeline import StoredMeter, name_stored
from event_stream_engine.monitoring.postgres_snapshots import take_snapshot
from event_stream_engine.monitoring.requests import RequestMeter, name_request
from event_stream_engine.stream.log import add_intake_counts, append_own_events
from event_stream_engine.web.app import compose_routes
from event_stream_engine.worker.evaluator import tick
from tests.document import ANSWERED, OBJECTS, REPORTS
from tests.engine import Engine
from tests.exports import make_next
from tests.hand_overs import check, decision, hand_over, list_messages, start
from tests.incidents import ADMIN, fire
from tests.sending import add_campaign
from tests.web.test_api import DOCUMENT, happen, happen_a_bit_of_all, inbound, receipt
from tests.web.test_campaign_figures import DOCUMENT as CAMPAIGN_DOCUMENT
from tests.web.test_room_pages import load_page

# The shape of an answer: bins of a histogram, numerator and denominator of a rate.
NO_FIGURES = {"since_seconds", "until_seconds", "numerator", "denominator"}
# Who a session is; rows behind a text, whose columns are figures elsewhere.
IDS = {"pid", "blocked_by", "evidence"}
# What a thing is called is no figure.
NAMES = {"campaign_id", "campaign_name", "report_type", "date", "report_period"}
# No replica, nothing wrong with an index, nobody at work; nothing to scale, no full day behind, too few for a projection; a
# first day of few messages: see tests/web/test_reports.py.
MAY_BE_EMPTY = {
    *("replicas", "losses", "verdicts", "sessions", "scaling", "scaling_recommendations", "history", "ahead"),
    *("top_performing_campaigns", "areas_for_improvement", "improvements", "compared_with"),
}
KINDS: dict[str, Any] = {"text": str, "yes or no": bool}
OTHERS = {PERFORMANCE: CAMPAIGN_DOCUMENT} | {ANSWERED[name]: OBJECTS[name] for name in REPORTS}
ANSWERS = [(metric, answer) for metric in METRICS.values() for answer in metric.answers]
ENDPOINTS = sorted({answer.endpoint for _, answer in ANSWERS})
FRAME = {"as_of", "window", "time_zone", "rates", "unknown", "health", "version", "restated"}
LINK = re.compile(r'href="/definitions#([a-z_]+)"')

Place = tuple[str, ...]


def list_leaves(given: Any, path: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Return the values of an answer with their places; an element of a list by its slug, if it has one."""
    if isinstance(given, dict):
        for name, value in given.items():
            yield from list_leaves(value, (*path, name))
    elif isinstance(given, list):
        for number, value in enumerate(given):
            name = value["slug"] if isinstance(value, dict) and "slug" in value else str(number)
            yield from list_leaves(value, (*path, name))
    else:
        yield path, given


def is_without(answer: dict[str, Any], path: str) -> bool:
    """Tell whether a path leads into a list that is rightly empty."""
    name, _, rest = path.partition(".")
    found = answer.get(name)
    if isinstance(found, dict):
        return is_without(found, rest)
    return bool(rest) and name in MAY_BE_EMPTY and found in ([], None)


def is_at(place: Place, pattern: str) -> bool:
    keys = pattern.split(".")
    return len(keys) == len(place) and all(key in ("*", name) for key, name in zip(keys, place, strict=True))


async def happen_all(engine: Engine) -> str:
    """Let happen what every metric needs to have a value, and return the campaign of it."""
    at = (datetime.now(UTC) - timedelta(minutes=20)).replace(microsecond=0)
    second = timedelta(seconds=1)
    async with await connect(engine.url, "test") as conn:
        await prepare_check(conn)
        campaign_id = await start(conn, 5, at, name="Spring")
        messages = await list_messages(conn, campaign_id)
        arrived, retried, denied, waiting, refused = messages
        events = [
            outcomes.postponed(retried, at, 30008),
            outcomes.skipped(denied, at, "consent_stop"),
            outcomes.refused(refused, at, 30005),
        ]
        async with transaction(conn):
            await append_own_events(conn, events)
            await conn.execute(
                "UPDATE outbox SET defer_reason = 'quiet_hours', due_at = %s WHERE message_id = %s",
                (at + timedelta(hours=1), waiting),
            )
        await hand_over(conn, *(decision(campaign_id, one, at + 5 * second) for one in (arrived, retried)))
        await check(conn)
        await tick(conn, SystemClock())  # no worker is there: an alert, as soon as it may be one
        await conn.execute("UPDATE alert_rules SET for_seconds = 0 WHERE metric = 'missing_workers'")
        await tick(conn, SystemClock())
    await engine.project()
    await happen(
        engine,
        *(receipt(at + 7 * second, f"SM{one.hex}", "sent") for one in (arrived, retried)),
        *(receipt(at + 9 * second, f"SM{one.hex}", "delivered") for one in (arrived, retried)),
        *(inbound(at, f"SM{word}", word, From="+14155551236") for word in ("help", "start", "thanks")),
    )
    async with await connect(engine.url, "test") as conn:
        for minutes in (3, 2, 1):
            assert await take_snapshot(conn, datetime.now(UTC) - timedelta(minutes=minutes))
    stop = inbound(at + 30 * second, "SMstop", "STOP", From="+14152000000")
    await happen(engine, stop)
    await happen_a_bit_of_all(engine, at)
    await measure_a_bit_of_all(engine)
    await advise_a_bit(engine)
    return str(campaign_id)


async def advise_a_bit(engine: Engine) -> None:
    """Look once, and have something advised, taken and measured, as if some weeks had passed."""
    now = datetime.now(UTC)
    advice = Recommendation(
        key="sender:+14155238886",
        kind="sender",
        subject="sender:+14155238886",
        title="Use another sender",
        text="It fades.",
        evidence=Evidence(("Day",), (("today",),)),
        sample_size=4000,
        sample_unit="messages",
        address="/insights/failures",
        effect=-4.2,
        interval=Interval(-6.1, -2.3, "%"),
        corrected_p=0.002,
        expected_gain_messages=80,
    )
    days = [DayCount((now - timedelta(days=day)).date(), 95, 100) for day in range(14)]
    async with await connect(engine.url, "test") as conn:
        look = Look(now, engine.settings.timezone, engine.settings.secret_key)
        run = await run_all(conn, look)
        async with transaction(conn):
            await following.follow(conn, Run(Advice([advice]), run.examined), now)
            (followed,) = await following.list_followed(conn, ["open"], kind="sender")
            await following.take(conn, ADMIN, followed.id, look)
            outcome = judge(FIGURES["delivery_rate"], days, days)
            await following.note_outcome(conn, followed.id, outcome.describe(), now)


async def measure_a_bit_of_all(engine: Engine) -> None:
    """Measure a request and a webhook, and count one that was rejected, as if all that had been told just now."""
    at = datetime.now(UTC) - timedelta(seconds=10)
    measured, stored = RequestMeter(name_request, lambda: 0), StoredMeter(name_stored, lambda: 0)
    measured.note(("/monitoring", "GET", 200), -12_000_000, 0)
    stored.note("stored", -2_000_000, 0)
    await measured.fold(at)
    await stored.fold(at)
    async with await connect(engine.url, "test") as conn:
        await requests.tell(conn, measured, at)
        await pipeline.tell(conn, stored)
        rejected = (at.replace(second=0, microsecond=0), "receipt.received", "rejected: wrong signature", 1)
        await add_intake_counts(conn, [rejected], source=uuid4())


async def make_export(engine: Engine) -> None:
    """Ask for an export, and let a worker make it."""
    answer = await engine.client.post("/api/v1/exports", json={"set": "messages", "format": "csv"})
    assert answer.status_code == 201, answer.text
    await make_next(engine.url, SystemClock())


async def load_answers(engine: Engine, campaign_id: str) -> dict[str, dict[str, Any]]:
    """Ask every endpoint; the comparison is one with a campaign that has not begun."""
    async with await connect(engine.url, "test") as conn:
        other = await add_campaign(conn, datetime.now(UTC), name="Draft")
        now = datetime.now(UTC)
        async with transaction(conn):
            await follow(conn, [fire(now, subject=f"campaign:{campaign_id}")], now)
        (incident,) = await list_incidents(conn, limit=1)
        async with transaction(conn):
            await resolve(conn, ADMIN, Seen(incident.id, incident.version), "", now)
    await make_export(engine)
    answers = {}
    for endpoint in ENDPOINTS:
        asked = {"campaign_id": [campaign_id, str(other)]} if endpoint.endswith("/compare") else {}
        path = endpoint.format(campaign_id=campaign_id, incident_id=incident.id)
        answer = await engine.client.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        answers[endpoint] = answer.json()
    return answers


def has_reason(answer: dict[str, Any], place: Place) -> bool:
    name = ".".join(place)
    if place[0] == "kpis":
        return bool(next(kpi["reason"] for kpi in answer["kpis"] if kpi["slug"] == place[1]))
    return any(f"{name}.".startswith(f"{named}.") for named in answer["unknown"])


async def test_every_metric_is_answered_where_the_catalogue_says(engine: Engine) -> None:
    answers = await load_answers(engine, await happen_all(engine))
    for metric, at in ANSWERS:
        answer = answers[at.endpoint]
        found = [(place, value) for place, value in list_leaves(answer) if is_at(place, at.path)]
        assert found or is_without(answer, at.path), f"{metric.slug}: {at.endpoint} has no {at.path}"
        for place, value in found:
            kind = KINDS.get(metric.unit, int | float)
            if value is None:
                assert has_reason(answer, place), f"{metric.slug}: {'.'.join(place)} is null without a reason"
            else:
                assert isinstance(value, kind), f"{metric.slug}: {'.'.join(place)} is {value!r}"
                assert isinstance(value, bool) == (kind is bool), metric.slug


async def test_every_figure_that_is_answered_is_in_the_catalogue(engine: Engine) -> None:
    answers = await load_answers(engine, await happen_all(engine))
    missing = []
    for endpoint, answer in answers.items():
        figures = {"progress": answer["progress"]} if "progress" in answer else answer
        for place, value in list_leaves(figures):
            is_figure = isinstance(value, int | float) and not isinstance(value, bool)
            is_extra = (
                place[0] in FRAME
                or place[-1] in NO_FIGURES
                or IDS & set(place)
                or (place[0] == "kpis" and place[-1] != "value")
            )
            if is_figure and not is_extra and not has_entry(endpoint, place):
                missing.append(f"{endpoint} {'.'.join(place)}")
    assert not missing, f"add to analytics/catalogue.py: {missing}"


def test_every_key_of_the_document_that_is_answered_is_in_the_catalogue() -> None:
    missing = [
        f"{endpoint} {'.'.join(place)}"
        for endpoint, blocks in (DOCUMENT | OTHERS).items()
        for place, _ in list_leaves(blocks)
        if place[-1] not in NAMES and not has_entry(endpoint, place)
    ]
    assert not missing, f"add to analytics/catalogue.py: {missing}"


def has_entry(endpoint: str, place: Place) -> bool:
    return any(answer.endpoint == endpoint and is_at(place, answer.path) for _, answer in ANSWERS)


def test_no_two_entries_mean_the_same_figure() -> None:
    assert len(METRICS) == sum(len(subject.metrics) for subject in SUBJECTS), "a slug is there twice"
    for (one, a), (other, b) in combinations(ANSWERS, 2):
        keys = (a.path.split("."), b.path.split("."))
        same = len(keys[0]) == len(keys[1]) and all(
            "*" in pair or pair[0] == pair[1] for pair in zip(*keys, strict=True)
        )
        assert a.endpoint != b.endpoint or not same, f"{one.slug} and {other.slug}: {a.path}"


def test_endpoints_of_the_catalogue_are_routes() -> None:
    assert set(ENDPOINTS) <= set(compose_routes().openapi()["paths"])


def test_only_a_rate_has_numerator_and_denominator() -> None:
    for metric in METRICS.values():
        assert bool(metric.numerator) == bool(metric.denominator), metric.slug
        assert not metric.numerator or " / " in metric.formula, metric.slug
        assert metric.answers, metric.slug
        assert metric.window, metric.slug
        assert metric.freshness, metric.slug


async def test_catalogue_is_listed_and_each_metric_found_by_its_slug(engine: Engine) -> None:
    listed = (await engine.get("/api/v1/metrics"))["items"]
    assert [item["slug"] for item in listed] == list(METRICS)
    one = await engine.get("/api/v1/metrics/delivery_rate")
    assert one == next(item for item in listed if item["slug"] == "delivery_rate")
    assert one["formula"] == "delivered / sent"
    assert one["definition"] == "/definitions#delivery_rate"
    missing = await engine.client.get("/api/v1/metrics/fame")
    assert missing.status_code == 404
    assert "'fame'" in missing.json()["detail"]


async def test_marks_beside_figures_lead_to_their_definitions(engine: Engine) -> None:
    campaign_id = await happen_all(engine)
    defined = set((await load_page(engine, "/definitions")).ids)
    assert set(METRICS) <= defined
    for address in (
        "/monitoring",
        "/compliance",
        "/inbound",
        "/audience/figures",
        "/performance/database",
        "/incidents",
        "/insights/capacity",
        f"/campaigns/{campaign_id}",
    ):
        page = await load_page(engine, address)
        linked = LINK.findall(page.text)
        assert len(linked) >= page.text.count('class="figure"'), f"{address}: a figure without its definition"
        assert set(linked) <= defined


async def test_definitions_are_found_by_words_and_by_keys_of_the_api(engine: Engine) -> None:
    by_words = await load_page(engine, "/definitions?search=OPT_IN+rate")
    assert 'id="opt_in_rate"' in by_words.text
    assert 'id="delivery_rate"' not in by_words.text
    by_key = await load_page(engine, "/definitions?search=messages_during_quiet_hours")
    assert [one for one in by_key.ids if one in METRICS] == ["quiet_hours_violations"]
    nothing = await load_page(engine, "/definitions?search=%3Cscript%3E")
    assert "No definition has all of these words" in nothing.text
    for page in (by_words, by_key, nothing):
        assert page.refused == []
        assert len(page.ids) == len(set(page.ids))
