"""What is told: one piece of news, before anybody knows by which ways it goes out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

SEVERITIES = ("critical", "high", "medium", "low", "warning", "info")
KINDS = (
    "alert.fired",
    "alert.repeated",
    "alert.resolved",
    "incident.opened",
    "incident.escalated",
    "incident.resolved",
)
REPORTS = ("report.daily", "report.weekly")  # told to their subscribers, past all routes
CONSOLE = "console:"  # becomes the public URL when a mail goes out
TEST = "test"  # asked for by hand, past all routes


@dataclass(frozen=True, slots=True)
class Notice:
    """A piece of news. Plain text; the numbers of people are masked already."""

    key: UUID  # the same key is never queued twice for a channel: uuid5 of episode and step
    kind: str  # one of KINDS, of REPORTS, or TEST
    severity: str  # one of SEVERITIES
    labels: Mapping[str, str]  # routes match on these
    group: str  # notices of one group and channel that are due together go out as one message
    episode_id: UUID | None  # what a later "resolved" belongs to
    title: str
    text: str
    facts: tuple[tuple[str, str], ...]  # name and value, as shown
    path: str  # of the console, joined with the public URL
    at: datetime
    html: str = ""  # what a mail shows in place of the text; its links into the console begin with CONSOLE

    @property
    def is_resolved(self) -> bool:
        return self.kind.endswith(".resolved")
