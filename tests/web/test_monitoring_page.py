"""The monitoring page as a browser gets it, on a real engine."""

import asyncio
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from event_stream_engine.web.chart_bundle import BUNDLE_URL
from event_stream_engine.web.middleware import CONTENT_SECURITY_POLICY
from event_stream_engine.web.render import STATIC_DIR
from tests.engine import Engine

SMS = {"From": "+15005550006", "To": "+14155551234", "AccountSid": "AC" + "5e" * 16}
LARGEST_PAGE_BYTES = 400_000


class Page(HTMLParser):
    """What the rules are about: ids, references to them, what a strict policy would refuse, and the charts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.ids: list[str] = []
        self.refers_to: set[str] = set()
        self.refused: list[str] = []
        self.charts: dict[str, dict[str, Any]] = {}
        self._chart: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if "id" in given:
            self.ids.append(given["id"] or "")
        self.refers_to |= {
            given[name] or ""
            for name in ("aria-labelledby", "popovertarget", "for", "data-chart")
            if name in given
        }
        self.refused += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (
            tag == "script" and "src" not in given and given.get("type") != "application/json"
        ):
            self.refused.append(tag)
        if given.get("class") == "chart-spec":
            self._chart = given["data-chart"]

    def handle_data(self, text: str) -> None:
        if self._chart:
            self.charts[self._chart] = json.loads(text)
            self._chart = None


async def load_page(engine: Engine, address: str = "/monitoring") -> Page:
    answer = await engine.client.get(address, headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


async def project(engine: Engine, events: int) -> None:
    """Project that many events; the log holds them back while any older transaction of the server is open."""
    async with asyncio.timeout(20):
        while (events := events - await engine.project()) > 0:
            await asyncio.sleep(0.02)


async def deliver(engine: Engine, number: int) -> None:
    for status in ("sent", "delivered"):
        form = {**SMS, "MessageSid": f"SM{number:032x}", "MessageStatus": status}
        assert (await engine.post_webhook("/webhooks/status", form)).status_code == 204
    await project(engine, 2)


async def test_new_engine_teaches_the_next_step(engine: Engine) -> None:
    page = await load_page(engine)
    assert "ese import webhooks FILE" in page.text
    assert "/webhooks/status</code>" in page.text
    assert "No message was sent in this period." in page.text


async def test_delivered_message_is_in_figures_chart_and_feed_with_its_number_masked(engine: Engine) -> None:
    await deliver(engine, 1)
    page = await load_page(engine)
    assert "ese import webhooks FILE" not in page.text
    assert sum(row["delivered"] for row in page.charts["volume-chart"]["rows"]) == 1
    assert re.search(r'<a class="kind-name" href="/messages/[0-9a-f-]{36}"[^>]*>delivered</a>', page.text)
    assert "+1 415 ••• ••34" in page.text
    assert SMS["To"] not in page.text


@pytest.mark.parametrize("address", ["/monitoring", "/monitoring?period=7d", "/monitoring?period=1h"])
async def test_page_holds_nothing_that_its_security_policy_refuses(engine: Engine, address: str) -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    page = await load_page(engine, address)
    assert page.refused == []


async def test_each_id_is_there_once_and_each_reference_has_its_target(engine: Engine) -> None:
    await deliver(engine, 1)
    page = await load_page(engine)
    assert len(page.ids) == len(set(page.ids))
    assert page.refers_to <= set(page.ids)


async def test_words_of_a_stranger_stay_words(engine: Engine) -> None:
    evil = "</script><script>alert(1)</script><b onclick=x>"
    form = {**SMS, "From": SMS["To"], "To": SMS["From"], "MessageSid": f"SM{7:032x}", "Body": evil}
    assert (await engine.post_webhook("/webhooks/inbound", form)).status_code == 200
    await project(engine, 1)
    page = await load_page(engine)
    assert "alert(1)" in page.text
    assert page.refused == []


async def test_chosen_period_is_shown_and_exported_as_asked(engine: Engine) -> None:
    page = await load_page(engine, "/monitoring?since=2026-03-01T00:00&until=2026-03-02T12:00")
    assert "1 Mar 00:00 – 2 Mar 12:00" in page.text
    assert "since=2026-03-01T00%3A00%3A00Z&amp;until=2026-03-02T12%3A00%3A00Z" in page.text


async def test_page_and_its_files_without_the_chart_library_stay_below_400_kilobytes(engine: Engine) -> None:
    await deliver(engine, 1)
    page = await load_page(engine)
    files = set(re.findall(r"/static/([\w.-]+)\?v=", page.text))
    total = len(page.text.encode()) + sum((STATIC_DIR / name).stat().st_size for name in files)
    assert total < LARGEST_PAGE_BYTES


async def test_chosen_colour_scheme_is_there_from_the_first_byte(engine: Engine) -> None:
    dark = await engine.client.get("/monitoring", headers={"cookie": "ese_scheme=dark"})
    assert '<html lang="en" data-theme="dark">' in dark.text
    strange = await engine.client.get("/monitoring", headers={"cookie": 'ese_scheme="><b>'})
    assert '<html lang="en">' in strange.text


async def test_chart_library_needs_no_eval_and_may_be_kept_for_ever(engine: Engine) -> None:
    answer = await engine.anonymous.get(BUNDLE_URL)
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert "immutable" in answer.headers["cache-control"]
    # vega-embed falls back to the interpreter it brings along; without that, pages would need 'unsafe-eval'.
    assert "expressionInterpreter??" in answer.text
    plain = await engine.anonymous.get(BUNDLE_URL, headers={"accept-encoding": "identity"})
    assert plain.text == answer.text
