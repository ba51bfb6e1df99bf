"""The report of seven days."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.infra.database import Connection
from event_stream_engine.reporting.report import Failed, Figures, Frame, Improvement, TopCampaign


@dataclass(frozen=True, slots=True)
class WeeklyReport:
    """`days`: seven points, by the moment messages were sent; `before`: the week before, None: before all records.

    `users_before` and `users`: how many there were when the week began and ended. `minutes_up` of `minutes`: in which all
    needed processes were alive. `unknown`: reasons by the place in the answer, like `trends.error_rate_trend`.
    """

    frame: Frame
    figures: Figures
    before: Figures | None
    users: int
    users_before: int
    minutes_up: int
    minutes: int
    days: tuple[DeliveryPoint, ...]
    top_campaigns: tuple[TopCampaign, ...]
    failures: tuple[Failed, ...]
    improvements: tuple[Improvement, ...]
    unknown: Mapping[str, str]


async def count_weekly(conn: Connection, now: datetime, zone: ZoneInfo, ending: date) -> WeeklyReport:
    """Count the seven local days that end with a date as they are known now; in a snapshot. Errors: Invalid."""
    raise NotImplementedError


def describe_weekly(report: WeeklyReport) -> dict[str, Any]:
    """Return the document's object of a week, with more keys beside."""
    raise NotImplementedError
