"""What there is to say about a figure, so that it is said once: its meaning, what it reads, where it is answered."""

from dataclasses import dataclass

# Endpoints.
DASHBOARD = "/api/v1/monitoring/dashboard"
APPLICATION = "/api/v1/monitoring/application"
HEALTH = "/api/v1/monitoring/health"
RESOURCES = "/api/v1/monitoring/resources"
DELIVERY = "/api/v1/analytics/delivery"
PERFORMANCE = "/api/v1/analytics/campaigns/{campaign_id}/performance"
PROGRESS = "/api/v1/campaigns/{campaign_id}"
COMPARISON = "/api/v1/analytics/compare"
EFFECTIVENESS = "/api/v1/analytics/effectiveness"
ERRORS = "/api/v1/analytics/errors"
OPT_OUTS = "/api/v1/analytics/opt-outs"
CONSENT = "/api/v1/analytics/consent"
DAILY_REPORT = "/api/v1/reports/daily"
WEEKLY_REPORT = "/api/v1/reports/weekly"

# Windows.
AS_OF_NOW = "as of now"
REQUESTED = "the window of the request"
MESSAGES = "messages of the window; of one campaign, all of its messages"
WINDOW_BEFORE = "the window of equal length before"
CAMPAIGN = "the whole campaign"
LOCAL_DAY = "the local day in which the window ends, up to that end"

# Freshness.
PROJECTED = "within two seconds of the webhook"
READ = "read at the moment of the request"

PARTS = ("by_country", "by_channel", "by_sender")  # of a campaign's performance

_MEASURES = ("%", "s", "ms", "min", "h", "MB", "GB")


@dataclass(frozen=True, slots=True)
class Answer:
    """A place in an answer of the API.

    `path`: keys joined by dots; `*` is any key or element, an element of a list that has a slug is named by it.
    """

    endpoint: str
    path: str


def list_answers(endpoint: str, *paths: str) -> tuple[Answer, ...]:
    return tuple(Answer(endpoint, path) for path in paths)


def list_answers_by(endpoint: str, parts: tuple[str, ...], *keys: str) -> tuple[Answer, ...]:
    """Return the places of keys in lists of parts, like the countries of a campaign."""
    return tuple(Answer(endpoint, f"{part}.*.{key}") for part in parts for key in keys)


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure. `unit` is what is counted, a measure, or `text`; `section`: heading in the document, '' beside it.

    Only a rate has `numerator` and `denominator`.
    """

    slug: str
    name: str
    unit: str
    formula: str
    answers: tuple[Answer, ...]
    reads: tuple[str, ...]
    section: str = ""
    numerator: str = ""
    denominator: str = ""
    note: str = ""
    window: str = MESSAGES
    freshness: str = PROJECTED

    @property
    def symbol(self) -> str:
        """Return the unit as it is written behind a value, '' where the name already says what is counted."""
        return self.unit if self.unit in _MEASURES else ""


@dataclass(frozen=True, slots=True)
class Note:
    """What holds for several figures. In texts, `code` stands between backticks."""

    term: str
    text: str


@dataclass(frozen=True, slots=True)
class Subject:
    slug: str
    name: str
    intro: str
    metrics: tuple[Metric, ...]
    notes: tuple[Note, ...] = ()
