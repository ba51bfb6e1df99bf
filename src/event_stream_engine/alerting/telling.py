"""What people and the log are told of an alert."""

from datetime import datetime
from uuid import UUID, uuid5

import orjson

from event_stream_engine.alerting.episodes import Episode
from event_stream_engine.alerting.measures import MEASURES
from event_stream_engine.alerting.rules import Rule
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.notifications.notice import Notice
from event_stream_engine.stream.log import Event

_SYMBOLS = ("%", "s", "ms", "min")


def format_value(value: float | None, metric: str) -> str:
    """Write a value of a metric with its unit, in a plain text."""
    if value is None:
        return "unknown"
    measure = MEASURES.get(metric)
    unit = "" if measure is None else measure.unit
    number = f"{value:,.0f}" if abs(value) >= 1000 else f"{round(value, 2):.10g}"
    return f"{number} {unit}" if unit in _SYMBOLS else number


def describe_fire(episode: Episode) -> str:
    """Say in one sentence what is wrong with whom."""
    whom = "" if episode.subject == "all" else f"{episode.subject_name}: "
    value, threshold = (format_value(one, episode.metric) for one in (episode.value, episode.threshold))
    return f"{whom}{value}, {episode.comparison} the threshold of {threshold}."


def make_notice(episode: Episode, kind: str, step: str, now: datetime) -> Notice:
    """Make the notice of a step of an episode: `alert.fired`, `alert.repeated` or `alert.resolved`."""
    word = {"alert.fired": "", "alert.repeated": "Still firing: ", "alert.resolved": "Resolved: "}[kind]
    whom = "" if episode.subject == "all" else f" ({episode.subject_name})"
    facts: list[tuple[str, str]] = [
        ("Alert", episode.alert_id),
        ("Severity", episode.severity),
        ("Value", format_value(episode.value, episode.metric)),
        ("Threshold", f"{episode.comparison} {format_value(episode.threshold, episode.metric)}"),
        ("Since", format_instant(episode.fired_at.replace(microsecond=0))),
    ]
    if kind == "alert.resolved":
        facts.append(("Worst", format_value(episode.peak, episode.metric)))
    if episode.runbook_url:
        facts.append(("Runbook", episode.runbook_url))
    text = (
        describe_fire(episode) if kind != "alert.resolved" else f"{episode.subject_name}: {episode.reason}."
    )
    return Notice(
        key=uuid5(episode.id, step),
        kind=kind,
        severity=episode.severity,
        labels=episode.labels,
        group=f"alert:{episode.rule_id}",
        episode_id=episode.id,
        title=f"{word}{episode.name}{whom}",
        text=text,
        facts=tuple(facts),
        path=f"/alerts/{episode.alert_id}",
        at=now,
    )


def make_event(episode: Episode, kind: str, now: datetime) -> Event:
    """Make the event that tells the log of a fire or its end."""
    payload = {
        "AlertId": episode.alert_id,
        "EpisodeId": str(episode.id),
        "Severity": episode.severity,
        "Message": episode.name if episode.subject == "all" else f"{episode.name}: {episode.subject_name}",
        "Subject": episode.subject,
        "Value": episode.value,
        "Threshold": episode.threshold,
    }
    return Event(now, kind, uuid5(episode.id, kind), orjson.dumps(payload).decode())


def label_episode(rule: Rule, subject: str, subject_name: str) -> dict[str, str]:
    """Return the labels of an alert: those of its rule, and what every alert has."""
    own = {"rule": rule.name, "metric": rule.metric, "severity": rule.severity}
    kind, _, which = subject.partition(":")
    if which:
        own |= {kind: which}
    if kind == "campaign":
        own["campaign_name"] = subject_name
    return {**rule.labels, **own}


def episode_id_of(rule_id: UUID, subject: str, fired_at: datetime) -> UUID:
    """Return the id of an episode: the same fire found twice has the same."""
    return uuid5(rule_id, f"{subject} {fired_at.isoformat()}")
