"""Episodes: one alert from its fire to its end, and what happened in between."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from event_stream_engine.alerting.state import Condition, StateName
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, NotFound

SQL = load_queries(__package__)
KEPT = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Episode:
    """An alert. `told_at` None: nobody was told so far; `held_back`: why nobody is told at present."""

    id: UUID
    number: int
    rule_id: UUID
    subject: str
    subject_name: str
    name: str
    metric: str
    severity: str
    labels: Mapping[str, str]
    comparison: str
    threshold: float
    value: float | None
    peak: float
    reason: str
    runbook_url: str
    fired_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    told_at: datetime | None
    told_count: int
    held_back: str | None

    @property
    def alert_id(self) -> str:
        return f"ALT{self.number:03d}"

    @property
    def state(self) -> StateName:
        if self.resolved_at is not None:
            return "resolved"
        return "firing" if self.acknowledged_at is None else "acknowledged"

    @property
    def silence_labels(self) -> dict[str, str]:
        """Return the labels that mean this alert and no other."""
        kind, _, which = self.subject.partition(":")
        return {"rule": self.name} | ({kind: which} if which else {})

    def worse(self, value: float | None) -> float:
        """Return the worst value so far, this one included."""
        if value is None:
            return self.peak
        return Condition("above" if self.comparison == "above" else "below", 0, 0).worse(self.peak, value)


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened in an episode: told, held_back, no_data, acknowledged, action, resolved, fired."""

    episode_id: UUID
    at: datetime
    kind: str
    actor: str | None
    text: str


async def list_open(conn: Connection) -> list[Episode]:
    """Return the alerts that are not over, the newest first."""
    return await SQL.list_open_episodes.many(conn, Episode)


async def list_resolved(
    conn: Connection, *, most: int, before: tuple[datetime, UUID] | None = None
) -> list[Episode]:
    """Return alerts that are over, the last to end first, going on behind `before`."""
    at, episode_id = before or (None, None)
    parameters = {"most": most, "before_at": at, "before_id": episode_id}
    return await SQL.list_resolved_episodes.many(conn, Episode, parameters)


async def load_episode(conn: Connection, which: str) -> Episode:
    """Return an alert by its id like ALT001 or its UUID. Errors: NotFound."""
    values: dict[str, Any] = {"number": None, "id": None}
    text = which.strip()
    if text[:3].upper() == "ALT" and text[3:].isdecimal() and len(text) <= 21:
        values["number"] = int(text[3:])
    else:
        try:
            values["id"] = UUID(text)
        except ValueError:
            raise NotFound(f"There is no alert {which!r}; their ids are like ALT001.") from None
    found = await SQL.find_episode.maybe(conn, Episode, values)
    if found is None:
        raise NotFound(f"There is no alert {which!r}.")
    return found


async def list_steps(conn: Connection, episode_id: UUID) -> list[Step]:
    """Return what happened in an episode, in order."""
    return await SQL.list_steps.many(conn, Step, {"episode_id": episode_id})


async def acknowledge(conn: Connection, actor: Actor, which: str, now: datetime) -> Episode:
    """Take a firing alert in hand; it is not told again until it is over. Errors: NotFound, Conflict when it is over."""
    await SQL.lock_tick.execute(conn)  # a tick that runs now would write its state over this one
    episode = await load_episode(conn, which)
    if episode.resolved_at is not None:
        raise Conflict(f"{episode.alert_id} is over since {episode.resolved_at:%Y-%m-%d %H:%M} UTC.")
    if episode.acknowledged_at is None:
        values = {"id": episode.id, "actor": actor.name, "now": now}
        await SQL.acknowledge_episode.execute(conn, values)
        await SQL.acknowledge_state.execute(
            conn, {"rule_id": episode.rule_id, "subject": episode.subject, "now": now}
        )
        await add_steps(conn, [Step(episode.id, now, "acknowledged", actor.name, "Acknowledged.")])
        entry = Entry(now, "alert.acknowledged", f"alert:{episode.id}", after={"alert": episode.alert_id})
        await record(conn, actor, entry)
    return await load_episode(conn, str(episode.id))


async def add_steps(conn: Connection, steps: Sequence[Step]) -> None:
    if steps:
        columns = {
            name: [getattr(step, name) for step in steps]
            for name in ("episode_id", "at", "kind", "actor", "text")
        }
        await SQL.add_steps.execute(conn, columns)


async def forget_episodes(conn: Connection, now: datetime) -> None:
    """Clear away what was over long ago."""
    await SQL.forget_episodes.execute(conn, {"until": now - KEPT})


def dump_labels(labels: Mapping[str, str]) -> str:
    return orjson.dumps(dict(labels)).decode()
