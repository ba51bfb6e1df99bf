"""Figures of alerts: those of the rules they are by."""

from event_stream_engine.analytics.metric import Answer, Metric, Note, Subject

ALERTS_ENDPOINT = "/api/v1/alerts"
_SECTION = "Alert System & Notifications"
_TICK = "every 10 s"


def _figure(slug: str, name: str, formula: str, *paths: str, window: str, note: str = "") -> Metric:
    return Metric(
        slug,
        name,
        "as its metric",
        formula,
        tuple(Answer(ALERTS_ENDPOINT, path) for path in paths),
        ("alert_episodes", "alert_rules"),
        _SECTION,
        note=note,
        window=window,
        freshness=_TICK,
    )


ALERTS = Subject(
    "alerts",
    "Alerts",
    "What needs a person?",
    notes=(
        Note(
            "What is measured",
            "Each rule names a metric, whose unit its figures have: `GET /api/v1/alerts/metrics` lists them, "
            "`GET /api/v1/alerts/rules` the rules with their windows.",
        ),
    ),
    metrics=(
        _figure(
            "alert_value",
            "Value of an alert",
            "the metric of the rule for this subject",
            "active_alerts.*.current_value",
            window="that of the rule",
            note="The last value that was known; `reason` says when there has been none since.",
        ),
        _figure(
            "alert_worst_value",
            "Worst value of an alert",
            "the largest value since it fired, the smallest of a rule that asks for `below`",
            "active_alerts.*.worst_value",
            window="since it fired",
        ),
        _figure(
            "alert_threshold",
            "Threshold",
            "the value beyond which the rule fires",
            "active_alerts.*.threshold",
            "alert_configuration.*",
            window="as of now; of an alert, as it was when it fired",
        ),
    ),
)
