"""Whom an incident touched: the messages its alerts are about, in its time, from the roll-ups."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from event_stream_engine.alerting.measure import ALL
from event_stream_engine.alerting.measures import MEASURES
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.incidents.incidents import Incident, LinkedAlert, list_alerts
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
MOST_CAMPAIGNS = 50
MOST_READ = 1_000_000  # messages that are looked through for their recipients; it takes about a second
NO_SCOPE = "None of its alerts is about messages."
TOO_MANY = f"More than {MOST_READ:,} messages would have to be looked through."


@dataclass(frozen=True, slots=True)
class Subjects:
    """What part of the traffic alerts are about. `is_all`: all of it."""

    is_all: bool
    campaign_ids: Sequence[UUID]
    channels: Sequence[str]
    countries: Sequence[str]

    @property
    def is_empty(self) -> bool:
        return not (self.is_all or self.campaign_ids or self.channels or self.countries)

    def parameters(self, window: Window) -> dict[str, Any]:
        """Return the parameters of a query, with the slice that has all that is asked for."""
        named = (
            []
            if self.is_all
            else [
                name for name, values in (("channel", self.channels), ("country", self.countries)) if values
            ]
        )
        return {
            "since": window.since,
            "until": window.until,
            "slice": Scope(window).parameters("campaign", *named)["slice"],
            "is_all": self.is_all,
            "campaign_ids": list(self.campaign_ids),
            "channels": list(self.channels),
            "countries": list(self.countries),
        }


@dataclass(frozen=True, slots=True)
class AffectedCampaign:
    """`id` zeros and `name` None: messages of no campaign."""

    id: UUID
    name: str | None
    messages: int
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class AffectedMessage:
    id: UUID
    campaign_id: UUID | None
    recipient_phone: str
    status: str
    error_code: int | None
    cohort_at: datetime


@dataclass(frozen=True, slots=True)
class Affected:
    """Messages handed over in the window. `recipients`: people to whom one failed; None is unknown, see `reason`.

    With a `reason` and no campaigns nothing could be counted.
    """

    window: Window
    campaigns: Sequence[AffectedCampaign]
    recipients: int | None
    reason: str

    @property
    def is_counted(self) -> bool:
        return self.reason != NO_SCOPE

    @property
    def messages(self) -> int | None:
        return sum(one.messages for one in self.campaigns) if self.is_counted else None

    @property
    def delivered(self) -> int | None:
        return sum(one.delivered for one in self.campaigns) if self.is_counted else None

    @property
    def failed(self) -> int | None:
        return sum(one.failed for one in self.campaigns) if self.is_counted else None


def read_subjects(alerts: Sequence[LinkedAlert]) -> Subjects:
    """Return what part of the traffic alerts are about; those about a host or the engine itself are about none."""
    named = [one.subject.partition(":") for one in alerts]
    by_kind: dict[str, list[str]] = {
        kind: sorted({value for name, _, value in named if name == kind and value})
        for kind in ("campaign", "channel", "country")
    }
    return Subjects(
        any(one.subject == ALL and is_about_messages(one.metric) for one in alerts),
        [UUID(one) for one in by_kind["campaign"]],
        by_kind["channel"],
        by_kind["country"],
    )


def is_about_messages(metric: str) -> bool:
    measure = MEASURES.get(metric)
    return measure is not None and measure.is_about_messages


async def load_affected(conn: Connection, incident: Incident, now: datetime) -> Affected:
    """Count what was handed over since the first alert's window began, until the incident was quiet or resolved."""
    subjects = read_subjects(await list_alerts(conn, incident.id))
    window = await find_window(conn, incident, now)
    if subjects.is_empty:
        return Affected(window, [], None, NO_SCOPE)
    asked = subjects.parameters(window)
    campaigns = await SQL.count_affected.many(conn, AffectedCampaign, asked)
    if sum(one.messages for one in campaigns) > MOST_READ:
        return Affected(window, campaigns, None, TOO_MANY)
    recipients = await SQL.count_failed_recipients.value(conn, asked)
    return Affected(window, campaigns, recipients, "")


async def list_failed(
    conn: Connection,
    incident: Incident,
    now: datetime,
    *,
    most: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[AffectedMessage]:
    """Return the messages that failed, newest first, from behind a place (cohort_at, id) on."""
    subjects = read_subjects(await list_alerts(conn, incident.id))
    if subjects.is_empty:
        return []
    asked = subjects.parameters(await find_window(conn, incident, now))
    at, message_id = before or (None, None)
    asked |= {"before_at": at, "before_id": message_id, "most": most}
    return await SQL.list_failed_messages.many(conn, AffectedMessage, asked)


async def find_window(conn: Connection, incident: Incident, now: datetime) -> Window:
    """Return the time of an incident: it began before its first alert, which looked back on what was wrong already."""
    since = await SQL.find_beginning.value(conn, {"incident_id": incident.id})
    until = incident.quiet_at or incident.resolved_at or now
    return Window(min(since or incident.opened_at, until), until)
