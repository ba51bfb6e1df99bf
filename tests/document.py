"""The objects of the document, the endpoints that answer them, and how an answer is held against them."""

import json
from pathlib import Path
from typing import Any

OBJECTS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "document.json").read_text())
API = "/api/v1"
# Object → path. The two reports are answers of their own, without a name around them.
ANSWERED = {
    "system_health": f"{API}/monitoring/dashboard",
    "performance_metrics": f"{API}/monitoring/dashboard",
    "campaign_performance": f"{API}/analytics/campaigns/{{campaign_id}}/performance",
    "error_analysis": f"{API}/analytics/errors",
    "consent_analytics": f"{API}/analytics/consent",
    "user_demographics": f"{API}/analytics/demographics",
    "inbound_analytics": f"{API}/analytics/inbound",
    "application_performance": f"{API}/monitoring/application",
    "live_events": f"{API}/monitoring/events",
    "compliance_metrics": f"{API}/compliance",
    "database_performance": f"{API}/monitoring/database",
    "alert_configuration": f"{API}/alerts",
    "active_alerts": f"{API}/alerts",
    "incident_management": f"{API}/incidents/policy",
    "capacity_metrics": f"{API}/insights/capacity",
    "daily_report": f"{API}/reports/daily",
    "weekly_report": f"{API}/reports/weekly",
}
# The answer itself, of days instead of a window: see tests/web/test_reports.py.
REPORTS = ("daily_report", "weekly_report")
# What is decided and not measured has no window.
SETTINGS = ("alert_configuration", "incident_management")
# Days of the window when nothing is asked for, where it is not one.
WINDOW_DAYS = {f"{API}/analytics/demographics": 30, f"{API}/insights/capacity": 7}
# The inner objects of campaign_performance, for any scope.
INNER = ("execution_summary", "performance_breakdown", "timing_analysis")
# Objects whose keys are data: whichever there are, of one shape.
KEYED_BY_DATA = ("error_breakdown", "by_city", "by_tier", "endpoint_performance")


def list_figures() -> dict[str, dict[str, Any]]:
    """Return the paths that answer figures of a window, without anything named in them, with their objects."""
    figures: dict[str, dict[str, Any]] = {
        f"{API}/analytics/delivery": {name: OBJECTS["campaign_performance"][name] for name in INNER}
    }
    for name, path in ANSWERED.items():
        if "{" not in path and isinstance(OBJECTS[name], dict) and name not in (*SETTINGS, *REPORTS):
            figures.setdefault(path, {})[name] = OBJECTS[name]
    return figures


def find_faults(expected: Any, given: Any, path: str) -> list[str]:
    """Say where an answer does not have the document's keys and types; null is no fault."""
    if given is None:
        return []
    if isinstance(expected, dict):
        if not isinstance(given, dict):
            return [f"{path} is {given!r}, no object"]
        if path.rpartition(".")[2] in KEYED_BY_DATA:
            expected = dict.fromkeys(given, next(iter(expected.values())))
        missing = [f"{path}.{name} is missing" for name in expected if name not in given]
        return missing + [
            fault
            for name, value in expected.items()
            for fault in find_faults(value, given.get(name), f"{path}.{name}")
        ]
    if isinstance(expected, list):
        return [fault for each in given for fault in find_faults(expected[0], each, f"{path}[]")]
    kinds = (int, float) if isinstance(expected, int | float) else (type(expected),)
    right = isinstance(given, kinds) and not isinstance(given, bool)
    if isinstance(expected, bool):
        right = isinstance(given, bool)
    return [] if right else [f"{path} is {given!r}, not like {expected!r}"]


def list_nulls(given: Any, path: str) -> list[str]:
    if isinstance(given, dict):
        return [null for name, value in given.items() for null in list_nulls(value, f"{path}.{name}")]
    return [path] if given is None else []
