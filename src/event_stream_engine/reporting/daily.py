"""The report of a day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from event_stream_engine.analytics.delivery import DeliveryPoint
from event_stream_engine.infra.database import Connection
from event_stream_engine.reporting.report import Failed, Figures, Frame, Improvement, TopCampaign


@dataclass(frozen=True, slots=True)
class DailyReport:
    """`hours`: 23 to 25 of them, by the moment messages were sent; `before`: the day before, None: before all records.

    `unknown`: reasons by the place in the answer, like `summary.delivery_rate`.
    """

    frame: Frame
    figures: Figures
    before: Figures | None
    hours: tuple[DeliveryPoint, ...]
    top_campaigns: tuple[TopCampaign, ...]
    failures: tuple[Failed, ...]
    improvements: tuple[Improvement, ...]
    unknown: Mapping[str, str]


async def count_daily(conn: Connection, now: datetime, zone: ZoneInfo, on: date) -> DailyReport:
    """Count a local day as it is known now; in a snapshot. Errors: Invalid."""
    raise NotImplementedError


def describe_daily(report: DailyReport) -> dict[str, Any]:
    """Return the document's object of a day, with more keys beside."""
    raise NotImplementedError
