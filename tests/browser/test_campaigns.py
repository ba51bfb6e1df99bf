"""A campaign from the file of people to its end, in a real Chromium on a real engine against the simulated provider."""

import asyncio
import base64
import re
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import uvicorn
from playwright.async_api import Page, expect

from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulator import build_simulator
from tests.browser.running import (
    EMAIL,
    RunningEngine,
    find_ports,
    make_environment,
    open_page,
    running_up,
    sign_in,
)
from tests.engine import ACCOUNT_SID, TOKEN

PEOPLE = 120
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def database_url(postgres: str) -> Iterator[str]:
    """One database for the module, because the engine lives as long."""
    name = "browser_campaigns"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE ese_template")
        yield postgres.replace("@/ese?", f"@/{name}?")
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def engine(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEngine]:
    port, simulator_port = find_ports(2)
    url, simulator_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{simulator_port}"
    behaviour = Behaviour(speed=400.0, seed=3)
    simulator = uvicorn.Server(
        uvicorn.Config(
            build_simulator(behaviour, ACCOUNT_SID, TOKEN, url, SystemClock()),
            "127.0.0.1",
            simulator_port,
            log_level="warning",
        )
    )
    thread = threading.Thread(target=simulator.run)
    thread.start()
    environment = make_environment(
        tmp_path_factory.mktemp("campaigns"),
        port,
        DATABASE_URL=database_url,
        PUBLIC_URL=url,
        SIMULATOR_URL=simulator_url,
    )
    try:
        with running_up(environment, operator=EMAIL, viewer="viewer@example.com"):
            yield RunningEngine(url)
    finally:
        simulator.should_exit = True
        thread.join(10)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with open_page() as page:
        yield page


def write_people() -> str:
    """One person a row; every tenth never opted in, one number is none, one comes twice, one has a hostile name."""
    rows = ["phone,first_name,city,consent"]
    for number in range(PEOPLE):
        name = HOSTILE if number == 7 else f"Ada{number}"
        city = "Austin" if number % 2 else "Boston"
        rows.append(f"+1512555{number:04d},{name},{city},{'' if number % 10 == 0 else 'OPT_IN'}")
    return "\n".join([*rows, "not a number,Bad,Austin,OPT_IN", rows[1]]) + "\n"


async def drop_file(page: Page, name: str, content: str) -> None:
    """Drop a file on the page as a person would drag it there."""
    transfer = await page.evaluate_handle(
        """([name, encoded]) => {
            const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name, { type: "text/csv" }));
            return transfer;
        }""",
        [name, base64.b64encode(content.encode()).decode()],
    )
    for kind in ("dragenter", "dragover", "drop"):
        await page.dispatch_event("#drop", kind, {"dataTransfer": transfer})


async def read_totals(page: Page) -> dict[str, int]:
    totals = {}
    for place in await page.locator("[data-total]").all():
        name = await place.get_attribute("data-total") or ""
        totals[name] = int((await place.inner_text()).replace(",", ""))
    return totals


def count_in_database(url: str) -> dict[str, int]:
    with psycopg.connect(url) as conn:
        row = conn.execute(
            """SELECT count(*) FILTER (WHERE status IN ('DELIVERED', 'READ')), count(*) FILTER (WHERE status IN ('FAILED', 'UNDELIVERED')),
                      count(*) FILTER (WHERE status = 'SKIPPED'), count(*) FILTER (WHERE status IN ('PENDING', 'UNKNOWN')),
                      count(*) FILTER (WHERE status IN ('ACCEPTED', 'SCHEDULED', 'QUEUED', 'SENDING', 'SENT'))
               FROM messages WHERE campaign_id IS NOT NULL"""
        ).fetchone()
    assert row is not None
    return dict(zip(("delivered", "failed", "denied", "waiting", "in_flight"), row, strict=True))


async def import_people(page: Page) -> None:
    await drop_file(page, "people.csv", write_people())
    await expect(page.locator("#file-name")).to_contain_text("people.csv")
    await page.get_by_role("button", name="Import").click()
    row = page.locator("#imports tbody tr").first
    await expect(row).to_contain_text("completed", timeout=20_000)
    await expect(row.locator("[data-label=New]")).to_have_text(str(PEOPLE))
    await expect(row.locator("[data-label=Twice]")).to_have_text("1")
    await expect(row.locator("[data-label=Rejected]")).to_contain_text("1")
    await page.reload()
    await expect(page.locator("#imports tbody tr").first).to_contain_text("completed")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Rejects file").click()
    rejects = Path(await (await download.value).path()).read_text("utf-8")
    assert rejects.splitlines()[1].startswith(f"{PEOPLE + 1},"), rejects


async def build_segment(engine: RunningEngine, page: Page) -> None:
    await page.goto(f"{engine.url}/audience/segments/new")
    await page.get_by_label("Name", exact=True).fill("Austin")
    await expect(page.locator("#segment-count")).to_have_text(str(PEOPLE - PEOPLE // 10))
    await page.get_by_role("button", name="+ Condition").click()
    condition = page.get_by_role("group", name="Condition", exact=True).nth(1)
    await condition.get_by_label("Field").select_option("Attribute")
    await condition.get_by_label("Name of the attribute").fill("city")
    await condition.get_by_label("Value").fill("Austin")
    await expect(page.locator("#segment-count")).to_have_text(str(PEOPLE // 2))
    # everybody in Austin or Boston who is in the file, also who never opted in: consent is the campaign's to check
    await page.get_by_role("button", name="Remove this condition").first.click()
    await condition.get_by_label("Operator").first.wait_for(state="detached")
    only = page.get_by_role("group", name="Condition", exact=True)
    await only.get_by_label("Operator").select_option("is one of")
    await only.get_by_label("Values, separated by commas").fill("Austin, Boston")
    await expect(page.locator("#segment-count")).to_have_text(str(PEOPLE))
    await expect(page.locator("#segment-sample li").first).to_contain_text("+1 512 ••• ••")
    await page.get_by_role("button", name="Save segment").click()
    await expect(page).to_have_url(f"{engine.url}/audience/segments")
    await expect(page.locator("[data-counts]")).to_have_text(str(PEOPLE))


async def write_template(engine: RunningEngine, page: Page) -> None:
    await page.goto(f"{engine.url}/campaigns/templates/new")
    await page.get_by_label("Name", exact=True).fill("Greeting")
    await page.get_by_label("Text", exact=True).fill("Hi {first_name|there}, see you in {city} – soon")
    await expect(page.locator("#preview-text")).to_have_text(
        re.compile(r"^Hi Ada\d+, see you in (Austin|Boston) – soon$")
    )
    await expect(page.locator("#preview-facts")).to_contain_text("en dash")
    await page.get_by_label("Text", exact=True).fill("Hi {first_name|there}, see you in {city} soon")
    await expect(page.locator("#preview-facts")).to_contain_text("1 in GSM-7")
    await page.get_by_role("button", name="Save template").click()
    await expect(page).to_have_url(f"{engine.url}/campaigns/templates")


async def start_campaign(engine: RunningEngine, page: Page) -> None:
    await page.goto(f"{engine.url}/campaigns/new")
    await page.get_by_label("Name", exact=True).fill("First contact")
    await expect(page.locator("#reach-count")).to_have_text(str(PEOPLE))
    await page.get_by_label("Sender").fill("nobody")
    await page.get_by_label("Most messages a second").fill("25")
    await page.get_by_label("Quiet from").fill("00:00")
    await page.get_by_label("Quiet until").fill("00:00")
    await page.get_by_role("button", name="Make draft").click()
    await expect(page.locator("#sender-fault")).to_contain_text("+14155550100")
    await expect(page.get_by_label("Sender")).to_be_focused()
    await page.get_by_label("Sender").fill(Behaviour().senders[0])
    await page.get_by_role("button", name="Make draft").click()
    await page.wait_for_url(re.compile(r"/campaigns/[0-9a-f-]{36}$"))
    await page.wait_for_load_state("load")  # with its modules
    await page.get_by_role("button", name="Schedule").click()
    await page.get_by_label("Start at").fill("2020-01-01T10:00")
    await page.locator("#schedule-dialog").get_by_role("button", name="Schedule").click()
    await expect(page.locator("#at-fault")).to_contain_text("has passed")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Start now").click()
    await expect(page.locator("#start-dialog")).to_contain_text(f"{PEOPLE} right now")
    await page.get_by_role("button", name=f"Start: write to {PEOPLE}").click()


async def open_decision(page: Page) -> None:
    await page.goto(f"{page.url.split('?')[0]}?status=SKIPPED")
    await page.locator(".message-open").first.click()
    steps = page.locator(".decision .steps li")
    await expect(steps).to_have_count(6)
    await expect(steps.first).to_contain_text("Never opted in")


async def test_a_campaign_from_the_file_of_people_to_its_end(
    engine: RunningEngine, page: Page, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("DELETE FROM quiet_hours_rules")  # else it depends on the hour at which the test runs
    await sign_in(page, engine, "/audience/imports")
    await import_people(page)
    await build_segment(engine, page)
    await write_template(engine, page)
    await start_campaign(engine, page)
    await expect(page.locator("#state")).to_contain_text("completed", timeout=60_000)
    await expect(page.locator("[data-total=waiting]")).to_have_text("0")
    await expect(page.locator("[data-total=denied]")).to_have_text(str(PEOPLE // 10))
    await expect(page.locator("#timeline-rows")).to_contain_text("Completed")
    for _ in range(60):
        shown, counted = await read_totals(page), await asyncio.to_thread(count_in_database, database_url)
        if shown == counted and counted["in_flight"] == 0:
            break
        await page.wait_for_timeout(500)
    assert shown == counted
    assert sum(shown.values()) == PEOPLE
    assert shown["delivered"] > PEOPLE // 2
    await open_decision(page)


async def test_a_viewer_sees_and_changes_nothing(engine: RunningEngine, page: Page) -> None:
    await sign_in(page, engine, "/campaigns", "viewer@example.com")
    for address in (
        "/campaigns",
        "/audience",
        "/audience/segments",
        "/audience/imports",
        "/campaigns/templates",
    ):
        await page.goto(f"{engine.url}{address}")
        assert await page.locator("main .button:visible").count() == (1 if address == "/audience" else 0)
        assert "+1512555" not in await page.content()


async def test_every_page_fits_a_phone(engine: RunningEngine, page: Page) -> None:
    await page.set_viewport_size({"width": 360, "height": 800})
    await sign_in(page, engine, "/campaigns")
    for address in (
        "/campaigns",
        "/campaigns/new",
        "/campaigns/templates",
        "/campaigns/templates/new",
        "/campaigns/replies",
        "/audience",
        "/audience/segments",
        "/audience/segments/new",
        "/audience/imports",
    ):
        await page.goto(f"{engine.url}{address}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, address
