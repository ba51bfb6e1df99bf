"""What reports of a day and of a week have in common: their frame, figures, failures, what could be better."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from event_stream_engine.analytics.counts import MessageCounts
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.kernel.windows import Window

DAILY, WEEKLY = "daily", "weekly"
KINDS = (DAILY, WEEKLY)

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Change:
    """A figure that is not what it was in the version before."""

    slug: str
    name: str
    before: Value
    after: Value


@dataclass(frozen=True, slots=True)
class Restatement:
    """Why a version was made after another, and what changed."""

    reason: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """The meaning of a figure at the time of the report, as the catalogue has it."""

    slug: str
    name: str
    formula: str
    note: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What a report covers and when it was made.

    `first` and `last` are local days, both within; `compared_with`: the day or week before, as long as this one is so
    far, None when it is not wholly recorded. `is_so_far`: it was not over at the cut-off. `recorded_since`: where records
    begin, when that is within. `version` None: counted on asking, not kept. `restated` None: the first version, or none.
    """

    kind: str
    first: date
    last: date
    window: Window
    compared_with: Window | None
    zone: str
    cut_off_at: datetime
    is_so_far: bool
    definitions: tuple[Definition, ...]
    recorded_since: datetime | None = None
    version: int | None = None
    restated: Restatement | None = None


@dataclass(frozen=True, slots=True)
class DeliveryTimes:
    """`percentiles`: p50, p75, p90, p95, p99 in seconds, ±1 %; the others are exact."""

    count: int
    average_seconds: float | None
    fastest_seconds: float | None
    slowest_seconds: float | None
    percentiles: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted of a window; all rates follow from it."""

    counts: MessageCounts
    times: DeliveryTimes
    campaigns_executed: int
    new_users: int
    opt_outs: int
    inbound: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A figure beside that of the window before; `change_percent` is relative, None where one of them is not known or 0."""

    slug: str
    name: str
    unit: str
    now: int | float | None
    before: int | float | None
    change_percent: float | None


@dataclass(frozen=True, slots=True)
class TopCampaign:
    """Delivered of sent; ranked by the lower end of the interval."""

    id: UUID
    name: str
    delivery: Rate


@dataclass(frozen=True, slots=True)
class Improvement:
    """Something that could be better. `messages`: how many it touched, by which improvements are ranked.

    Shape: `rows` are the rows behind it, each with a value for each of `columns` (`failed`, `delivery_rate_percent`, …);
    `path`: the page of the console that shows them.
    """

    kind: str
    text: str
    messages: int
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    path: str
