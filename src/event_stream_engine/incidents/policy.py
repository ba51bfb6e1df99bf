"""The policy: what each severity means, how soon somebody answers, and who is told when nobody does."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.incidents.lifecycle import SEVERITIES, Severity
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid

SQL = load_queries(__package__)
MOST_STEPS, MOST_CONTACTS = 10, 20
SHORTEST_RESPONSE, LONGEST = 60, 30 * 86400  # seconds


@dataclass(frozen=True, slots=True)
class Level:
    """What a severity means, and how soon somebody has to answer."""

    meaning: str
    response_seconds: int

    @property
    def response(self) -> timedelta:
        return timedelta(seconds=self.response_seconds)


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is told, and by which notification channels."""

    name: str
    channel_ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the escalation. `after_seconds`: from the clock's start; a severity left out never gets here."""

    name: str
    after_seconds: Mapping[Severity, int]
    contacts: Sequence[Contact]

    @property
    def channel_ids(self) -> list[UUID]:
        """Return each channel of its contacts once."""
        return list(dict.fromkeys(one for contact in self.contacts for one in contact.channel_ids))


@dataclass(frozen=True, slots=True)
class Policy:
    """The steps are in the order of the path; their positions count from 1."""

    levels: Mapping[Severity, Level]
    steps: Sequence[Step]

    @property
    def version(self) -> str:
        """Return the digest by which whoever changes it says what they saw."""
        return hashlib.sha256(orjson.dumps(_describe(self), option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Channel:
    """A way to tell people. `is_enabled` False: it gets nothing at present."""

    id: UUID
    name: str
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class _Level(Level):
    severity: Severity


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    after_seconds: dict[Severity, int]
    contacts: list[dict[str, Any]]


async def load_policy(conn: Connection) -> Policy:
    levels = {row.severity: row for row in await SQL.list_severities.many(conn, _Level)}
    rows = await SQL.list_steps.many(conn, _Step)
    return Policy(
        {
            severity: Level(levels[severity].meaning, levels[severity].response_seconds)
            for severity in SEVERITIES
        },
        [Step(row.name, row.after_seconds, [_read_contact(one) for one in row.contacts]) for row in rows],
    )


async def list_channels(conn: Connection) -> list[Channel]:
    """Return the channels that contacts can be told by, by name."""
    return await SQL.list_channels.many(conn, Channel)


async def change_policy(conn: Connection, actor: Actor, wanted: Policy, seen: str, now: datetime) -> Policy:
    """Put a policy in place of the one of version `seen`; it holds for clocks that begin from now on.

    Errors: Invalid naming the field; Conflict when it was changed meanwhile.
    """
    known = {channel.id for channel in await list_channels(conn)}
    check_policy(wanted, known)
    await SQL.lock_policy.execute(conn)
    before = await load_policy(conn)
    if before.version != seen:
        raise Conflict(
            "The policy was changed since you read it. Reload to see what holds now, then change that."
        )
    if before == wanted:
        return before
    severities = list(SEVERITIES)
    await SQL.change_severities.execute(
        conn,
        {
            "severity": severities,
            "meaning": [wanted.levels[one].meaning for one in severities],
            "response_seconds": [wanted.levels[one].response_seconds for one in severities],
        },
    )
    steps = _describe(wanted)["steps"]
    await SQL.delete_steps.execute(conn)
    await SQL.add_steps.execute(
        conn,
        {
            "name": [step["name"] for step in steps],
            "after_seconds": [orjson.dumps(step["after_seconds"]).decode() for step in steps],
            "contacts": [orjson.dumps(step["contacts"]).decode() for step in steps],
        },
    )
    entry = Entry(now, "incident_policy.changed", "incident_policy", _summarise(before), _summarise(wanted))
    await record(conn, actor, entry)
    return wanted


def check_policy(policy: Policy, channel_ids: set[UUID]) -> None:
    """Errors: Invalid naming the field at fault."""
    for severity in SEVERITIES:
        level, place = policy.levels[severity], f"levels.{severity}"
        if not 1 <= len(level.meaning.strip()) <= 200:
            raise Invalid("Say in 1 to 200 characters what this severity means.", f"{place}.meaning")
        if not SHORTEST_RESPONSE <= level.response_seconds <= LONGEST:
            raise Invalid("A response time from 1 minute to 30 days is needed.", f"{place}.response_seconds")
    if not 1 <= len(policy.steps) <= MOST_STEPS:
        raise Invalid(f"1 to {MOST_STEPS} steps are needed.", "steps")
    latest = dict.fromkeys(SEVERITIES, 0)
    for number, step in enumerate(policy.steps):
        place = f"steps.{number}"
        if not 1 <= len(step.name.strip()) <= 100:
            raise Invalid("A name of 1 to 100 characters is needed.", f"{place}.name")
        for severity, seconds in step.after_seconds.items():
            if not 0 <= seconds <= LONGEST:
                raise Invalid("Use 0 to 30 days.", f"{place}.after_seconds.{severity}")
            if seconds < latest[severity]:
                raise Invalid(
                    f"{step.name} would be told before the step above. Wait at least as long as there.",
                    f"{place}.after_seconds.{severity}",
                )
            latest[severity] = seconds
        _check_contacts(step, place, channel_ids)


def word_seconds(seconds: int) -> str:
    """Write a length of time as the document does: `15 minutes`, `1 hour`, `1 hour 30 minutes`."""
    parts = []
    for unit, size in (("hour", 3600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts) or "0 minutes"


def _check_contacts(step: Step, place: str, channel_ids: set[UUID]) -> None:
    if len(step.contacts) > MOST_CONTACTS:
        raise Invalid(f"Use at most {MOST_CONTACTS} contacts in a step.", f"{place}.contacts")
    for number, contact in enumerate(step.contacts):
        if not 1 <= len(contact.name.strip()) <= 100:
            raise Invalid("A name of 1 to 100 characters is needed.", f"{place}.contacts.{number}.name")
        if not contact.channel_ids or not channel_ids.issuperset(contact.channel_ids):
            raise Invalid(
                f"{contact.name} needs a channel that exists; /settings/notifications has them.",
                f"{place}.contacts.{number}.channel_ids",
            )


def _read_contact(stored: Mapping[str, Any]) -> Contact:
    return Contact(stored["name"], [UUID(one) for one in stored["channel_ids"]])


def _describe(policy: Policy) -> dict[str, Any]:
    levels = {
        severity: {"meaning": level.meaning, "response_seconds": level.response_seconds}
        for severity, level in policy.levels.items()
    }
    steps = [
        {
            "name": step.name,
            "after_seconds": {str(severity): seconds for severity, seconds in step.after_seconds.items()},
            "contacts": [
                {"name": contact.name, "channel_ids": [str(one) for one in contact.channel_ids]}
                for contact in step.contacts
            ],
        }
        for step in policy.steps
    ]
    return {"levels": levels, "steps": steps}


def _summarise(policy: Policy) -> dict[str, Any]:
    """Return what the audit trail keeps: contacts are counted, because they are people's names."""
    described = _describe(policy)
    steps = [step | {"contacts": len(step["contacts"])} for step in described["steps"]]
    return {"levels": described["levels"], "steps": steps}
