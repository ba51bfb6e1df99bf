"""What lies in deploy/: every query asks for what the engine exposes, and Prometheus' own tool is content with it."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from event_stream_engine.monitoring.instruments import INSTRUMENTS

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = (PROMETHEUS / "rules.yml").read_text("utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "event-stream-engine.json").read_text("utf-8"))
RECORDED = set(re.findall(r"- record: (\S+)", RULES))


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    assert program is not None, "no promtool: run `make test`, which installs it or says how"
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr


def list_names(expression: str) -> set[str]:
    return set(re.findall(r"\bese[_:][a-z0-9_:]+", expression))


def list_exposed() -> set[str]:
    names = {name for name, one in INSTRUMENTS.items() if one.kind != "histogram"}
    parts = ("bucket", "sum", "count")
    return names | {
        f"{n}_{part}" for n, one in INSTRUMENTS.items() if one.kind == "histogram" for part in parts
    }


def list_expressions() -> Iterator[str]:
    """Return the queries of the dashboard as Prometheus gets them."""
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            for variable, value in {"$job": "j", "$__rate_interval": "5m", "$__range": "6h"}.items():
                target["expr"] = target["expr"].replace(variable, value)
            yield target["expr"]


def test_rules_ask_only_for_what_is_exposed() -> None:
    expressions = re.sub(r"^ *#.*$", "", RULES, flags=re.MULTILINE)
    assert list_names(expressions) <= list_exposed() | RECORDED


def test_every_panel_asks_only_for_what_is_exposed_or_recorded() -> None:
    expressions = list(list_expressions())
    assert len(expressions) > 40
    for expression in expressions:
        assert list_names(expression), expression
        assert list_names(expression) <= list_exposed() | RECORDED, expression
        assert "$" not in expression, expression


def test_no_query_adds_up_two_answers_of_one_engine() -> None:
    for expression in list_expressions():
        raw = [name for name in list_names(expression) if name.startswith("ese_")]
        assert len(raw) <= expression.count("max without (instance)"), expression


def test_every_runbook_is_there() -> None:
    for file, anchor in re.findall(r"runbook: ([^#\s]+)(?:#(\S+))?", RULES):
        text = (ROOT / file).read_text("utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in made, f"{file}#{anchor}"


def test_every_alert_has_severity_and_texts() -> None:
    alerts = RULES.split("- alert: ")[1:]
    assert len(alerts) == len(set(re.findall(r"- alert: (\S+)", RULES))) > 15
    for alert in alerts:
        assert re.search(r"severity: (critical|high|medium|low)\b", alert), alert
        for annotation in ("summary", "description", "runbook"):
            assert f"{annotation}: " in alert, alert


def test_rules_keep_their_own_tests() -> None:
    promtool("check", "rules", str(PROMETHEUS / "rules.yml"))
    promtool("test", "rules", str(PROMETHEUS / "rules.test.yml"))


def test_prometheus_parses_every_query_of_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(list_expressions())
    ]
    file = tmp_path / "dashboard.json"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", str(file))


def test_the_example_of_a_scrape_is_one(tmp_path: Path) -> None:
    for name in ("prometheus.yml", "rules.yml"):
        shutil.copy(PROMETHEUS / name, tmp_path)
    (tmp_path / "engine-key").write_text("ese_00000000_x")
    promtool("check", "config", str(tmp_path / "prometheus.yml"))


@pytest.mark.parametrize("field", ["uid", "title", "schemaVersion", "templating", "panels"])
def test_the_dashboard_has_what_grafana_reads(field: str) -> None:
    assert DASHBOARD[field]


def test_panels_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
