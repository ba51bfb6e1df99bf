"""Every metric once. It drives the API, the console’s definitions and docs/metrics.md, and a test that each is answered."""

from dataclasses import replace

from event_stream_engine.analytics.catalogue_alerts import ALERTS
from event_stream_engine.analytics.catalogue_campaigns import CAMPAIGNS
from event_stream_engine.analytics.catalogue_capacity import CAPACITY
from event_stream_engine.analytics.catalogue_compliance import COMPLIANCE
from event_stream_engine.analytics.catalogue_database import DATABASE
from event_stream_engine.analytics.catalogue_delivery_time import DELIVERY_TIME
from event_stream_engine.analytics.catalogue_drain import DRAIN
from event_stream_engine.analytics.catalogue_effectiveness import WORKING
from event_stream_engine.analytics.catalogue_engagement import ENGAGEMENT
from event_stream_engine.analytics.catalogue_errors import FAILURES
from event_stream_engine.analytics.catalogue_exports import EXPORTS
from event_stream_engine.analytics.catalogue_health import HEALTH_OF_PARTS
from event_stream_engine.analytics.catalogue_inbound import INBOUND
from event_stream_engine.analytics.catalogue_incidents import INCIDENTS
from event_stream_engine.analytics.catalogue_messages import MESSAGES
from event_stream_engine.analytics.catalogue_people import PEOPLE
from event_stream_engine.analytics.catalogue_recommendations import RECOMMENDATIONS
from event_stream_engine.analytics.catalogue_reports import REPORTS
from event_stream_engine.analytics.catalogue_resources import RESOURCES
from event_stream_engine.analytics.catalogue_speed import SPEED
from event_stream_engine.analytics.catalogue_system import SYSTEM
from event_stream_engine.analytics.metric import Metric, Note, Subject
from event_stream_engine.kernel.errors import NotFound

# What holds for all of them.
RULES = (
    Note("Unknown", "A figure that cannot be known is `null` with a reason, never 0 and never a guess."),
    Note(
        "Windows",
        "They are half-open, `[since, until)`. `period` is one of `1h`, `24h`, `7d`, `30d`, `90d` and ends now; nothing asked for "
        "means `24h`, unless said otherwise. Days, hours of the day and “today” are in the zone of `ESE_TIMEZONE`. With another window, keys that "
        "end in `_24h` describe that window.",
    ),
    Note(
        "What a window selects",
        "Messages by the moment the provider accepted or refused them, with their status as of now. Inbound messages and "
        "consent changes by when they were received, requests too, as soon as they have ended.",
    ),
    Note(
        "Rates",
        "Percentages from 0 to 100, rounded to two decimals at the edge. Without a denominator there is no rate. "
        "`rates` of an answer has numerator and denominator of each; "
        "`low_percent` and `high_percent` are the ends of its 95 % interval (Wilson).",
    ),
    Note("Times", "Our times of receipt, because callbacks carry none. Instants are UTC."),
    Note(
        "Key figures",
        "The small line of a key figure is its past in steps of the period. Its change is against the window of the same "
        "length before, unless said otherwise.",
    ),
)
SUBJECTS: tuple[Subject, ...] = (
    MESSAGES,
    DELIVERY_TIME,
    FAILURES,
    CAMPAIGNS,
    ENGAGEMENT,
    WORKING,
    PEOPLE,
    INBOUND,
    COMPLIANCE,
    REPORTS,
    EXPORTS,
    SPEED,
    INCIDENTS,
    SYSTEM,
    DATABASE,
    HEALTH_OF_PARTS,
    RESOURCES,
    CAPACITY,
    DRAIN,
    ALERTS,
    RECOMMENDATIONS,
)
METRICS = {metric.slug: metric for subject in SUBJECTS for metric in subject.metrics}


def load_metric(slug: str) -> Metric:
    """Return a metric by its slug. Errors: NotFound."""
    metric = METRICS.get(slug)
    if metric is None:
        raise NotFound(f"There is no metric {slug!r}. GET /api/v1/metrics lists them.")
    return metric


def find_subjects(words: str) -> list[Subject]:
    """Return the subjects with the metrics in which all of some words occur; without words all of them."""
    wanted = words.casefold().split()
    found = [
        replace(subject, metrics=tuple(metric for metric in subject.metrics if _has(metric, wanted)))
        for subject in SUBJECTS
    ]
    return [subject for subject in found if subject.metrics]


def _has(metric: Metric, wanted: list[str]) -> bool:
    paths = (f"{answer.endpoint} {answer.path}" for answer in metric.answers)
    said = (
        metric.slug,
        metric.name,
        metric.formula,
        metric.note,
        metric.numerator,
        metric.denominator,
        *paths,
    )
    text = " ".join(said).casefold()
    return all(word in text for word in wanted)
