"""Figures of incidents: how soon somebody answers, how long they last, whom they touch."""

from event_stream_engine.analytics.metric import (
    AS_OF_NOW,
    READ,
    REQUESTED,
    Answer,
    Metric,
    Note,
    Subject,
)

INCIDENT_FIGURES = "/api/v1/incidents/figures"
AFFECTED = "/api/v1/incidents/{incident_id}/affected"
_SECTION = "Incident Response Workflow"
_INCIDENT = "from the window of its first alert until it was quiet or resolved"


def _metric(
    slug: str, name: str, unit: str, formula: str, key: str, *, window: str = REQUESTED, **more: str
) -> Metric:
    answers = tuple(
        Answer(INCIDENT_FIGURES, f"{place}.{key}") for place in ("incident_figures", "by_severity.*")
    )
    return Metric(
        slug, name, unit, formula, answers, ("incidents",), _SECTION, window=window, freshness=READ, **more
    )


INCIDENTS = Subject(
    "incidents",
    "Incidents",
    "How soon somebody answers, how long incidents last, whom they touch.",
    notes=(
        Note(
            "Severity",
            "An incident counts under the severity it has now, also when it began with another one.",
        ),
        Note(
            "Reopened",
            "The first acknowledgement and the last end count. Whether the response was in time is judged by the last "
            "start of the clock.",
        ),
    ),
    metrics=(
        _metric(
            "incidents_open",
            "Open incidents",
            "incidents",
            "incidents that are not resolved",
            "open",
            window=AS_OF_NOW,
        ),
        _metric("incidents_opened", "Incidents opened", "incidents", "incidents opened", "opened"),
        _metric(
            "incidents_acknowledged",
            "Incidents acknowledged",
            "incidents",
            "incidents whose first acknowledgement is in the window",
            "acknowledged",
        ),
        _metric(
            "incident_mtta",
            "MTTA",
            "s",
            "median of the time from opening to the first acknowledgement",
            "mtta_seconds",
            note="Of incidents acknowledged in the window. Who mitigates or resolves has acknowledged too; what ended by itself "
            "was not acknowledged.",
        ),
        _metric(
            "incident_mtta_mean",
            "MTTA, mean",
            "s",
            "mean of the time from opening to the first acknowledgement",
            "mtta_mean_seconds",
            note="One forgotten night moves the mean far more than the median.",
        ),
        _metric(
            "incidents_resolved",
            "Incidents resolved",
            "incidents",
            "incidents that ended in the window",
            "resolved",
        ),
        _metric(
            "incident_mttr",
            "MTTR",
            "s",
            "median of the time from opening to the last end",
            "mttr_seconds",
            note="Of incidents resolved in the window, also those that ended by themselves.",
        ),
        _metric(
            "incident_mttr_mean",
            "MTTR, mean",
            "s",
            "mean of the time from opening to the last end",
            "mttr_mean_seconds",
        ),
        _metric(
            "incident_responses",
            "Response clocks ended",
            "incidents",
            "incidents opened in the window that were acknowledged, or not within their time",
            "responses",
        ),
        _metric(
            "incident_response_rate",
            "Answered in time",
            "%",
            "acknowledged in time / response clocks ended",
            "responded_in_time_percent",
            numerator="incidents opened in the window and acknowledged within the response time of their severity",
            denominator="incidents opened in the window that were acknowledged, or not within their time",
        ),
        Metric(
            "affected_messages",
            "Messages in its scope",
            "messages",
            "messages that an incident’s alerts are about",
            (Answer(AFFECTED, "affected.messages"), Answer(AFFECTED, "affected.campaigns.*.messages")),
            ("message_rollups", "incident_alerts"),
            note="Of the campaigns, channels and countries its alerts are about, or all; each message once.",
            window=_INCIDENT,
        ),
        Metric(
            "affected_delivered",
            "Delivered in its scope",
            "messages",
            "messages that an incident’s alerts are about, delivered or read",
            (Answer(AFFECTED, "affected.delivered"), Answer(AFFECTED, "affected.campaigns.*.delivered")),
            ("message_rollups", "incident_alerts"),
            window=_INCIDENT,
        ),
        Metric(
            "affected_failed",
            "Failed in its scope",
            "messages",
            "messages that an incident’s alerts are about, failed or undelivered",
            (Answer(AFFECTED, "affected.failed"), Answer(AFFECTED, "affected.campaigns.*.failed")),
            ("message_rollups", "incident_alerts"),
            window=_INCIDENT,
        ),
        Metric(
            "affected_recipients",
            "Recipients",
            "people",
            "different people to whom a message failed",
            (Answer(AFFECTED, "affected.recipients"),),
            ("messages", "incident_alerts"),
            note="Looked through message by message; unknown for more than a million messages.",
            window=_INCIDENT,
        ),
    ),
)
