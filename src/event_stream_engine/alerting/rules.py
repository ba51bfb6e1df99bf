"""Rules: what is watched, as rows that people change; each change is audited and holds from the next tick on."""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
from psycopg.errors import UniqueViolation

from event_stream_engine.alerting.measure import ALL, Question
from event_stream_engine.alerting.measures import find_measure
from event_stream_engine.alerting.state import Comparison, Condition
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.campaigns.campaigns import load_campaign
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.workbench.saved_queries import find_query

SQL = load_queries(__package__)
SEVERITIES = ("critical", "warning", "info")
INCIDENT_SEVERITIES = ("critical", "high", "medium", "low")
COMPARISONS = ("above", "below")
ACTIONS = ("pause_campaign", "lower_rate")
# Keys of the document's alert_configuration; each is the threshold of one rule.
CONFIGURATION = (
    "error_rate_threshold",
    "response_time_threshold_ms",
    "delivery_rate_threshold",
    "disk_usage_threshold",
)
LONGEST_SECONDS = 86_400
SHORTEST_WINDOW, LONGEST_WINDOW = 60, 604_800
LABEL = re.compile(r"[a-z][a-z0-9_]{0,49}\Z")
_NAME_TAKEN = "Another rule has this name."
_CHANNELS = ("sms", "whatsapp")


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person decides about a rule. `window_seconds` None: the metric has none, or the whole campaign."""

    name: str
    metric: str
    scope: str
    comparison: Comparison
    threshold: float
    clear_threshold: float
    severity: str
    scope_filter: str = ""
    window_seconds: int | None = None
    minimum_sample: int = 0
    for_seconds: int = 0
    keep_seconds: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    inhibits: Mapping[str, str] = field(default_factory=dict)
    runbook_url: str = ""
    opens_incident: str | None = None
    action: str | None = None
    action_percent: int | None = None
    is_enabled: bool = True

    @property
    def question(self) -> Question:
        return Question(self.metric, self.scope, self.window_seconds or 0)

    @property
    def condition(self) -> Condition:
        return Condition(
            self.comparison,
            self.threshold,
            self.clear_threshold,
            self.minimum_sample,
            timedelta(seconds=self.for_seconds),
            timedelta(seconds=self.keep_seconds),
        )

    def covers(self, subject: str) -> bool:
        """Return whether the rule is about a subject of its scope."""
        return not self.scope_filter or subject == f"{self.scope}:{self.scope_filter}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Draft):
    id: UUID
    configuration: str | None
    created_at: datetime
    changed_at: datetime

    @property
    def draft(self) -> Draft:
        return Draft(**{name: getattr(self, name) for name in Draft.__slots__})


async def list_rules(conn: Connection) -> list[Rule]:
    """Return all rules by name."""
    return await SQL.list_rules.many(conn, Rule)


async def find_rule(conn: Connection, rule_id: UUID) -> Rule | None:
    return await SQL.find_rule.maybe(conn, Rule, {"id": rule_id})


async def load_rule(conn: Connection, rule_id: UUID) -> Rule:
    """Return a rule. Errors: NotFound."""
    rule = await find_rule(conn, rule_id)
    if rule is None:
        raise NotFound("There is no such rule. GET /api/v1/alerts/rules lists them.")
    return rule


async def find_rule_id(conn: Connection, name: str) -> UUID | None:
    """Return the id of the rule of a name, None when there is none."""
    found: UUID | None = await SQL.find_rule_id.value(conn, {"name": name})
    return found


async def create_rule(conn: Connection, actor: Actor, draft: Draft, now: datetime) -> Rule:
    """Make a rule. Errors: Invalid naming the field."""
    await check_draft(conn, draft)
    rule_id = uuid4()
    await _put(conn, rule_id, draft, now)
    await _tell(conn, actor, "created", rule_id, before=None, after=draft, now=now)
    return await load_rule(conn, rule_id)


async def change_rule(conn: Connection, actor: Actor, rule_id: UUID, draft: Draft, now: datetime) -> Rule:
    """Change a rule; what it measures stays. Errors: Invalid naming the field, NotFound."""
    await SQL.lock_rule.execute(conn, {"id": rule_id})
    before = await load_rule(conn, rule_id)
    for name in ("metric", "scope", "scope_filter"):
        if getattr(draft, name) != getattr(before, name):
            raise Invalid("A rule keeps what it measures. Make a new one and switch this one off.", name)
    await check_draft(conn, draft, rule_id)
    if draft == before.draft:
        return before
    await _put(conn, rule_id, draft, now)
    await _tell(conn, actor, "changed", rule_id, before=before.draft, after=draft, now=now)
    return await load_rule(conn, rule_id)


async def delete_rule(conn: Connection, actor: Actor, rule_id: UUID, now: datetime) -> None:
    """Remove a rule; what fires by it is resolved at the next tick. Errors: NotFound, Conflict."""
    before = await load_rule(conn, rule_id)
    if before.configuration is not None:
        raise Conflict(f"This rule holds {before.configuration} of the configuration. Switch it off instead.")
    await SQL.lock_tick.execute(conn)  # a tick that runs now would write states of it
    await SQL.delete_rule.execute(conn, {"id": rule_id})
    await _tell(conn, actor, "deleted", rule_id, before=before.draft, after=None, now=now)


async def load_configuration(conn: Connection) -> dict[str, float]:
    """Return the thresholds by the document's keys."""
    held = {rule.configuration: rule for rule in await list_rules(conn)}
    return {key: held[key].threshold for key in CONFIGURATION}


async def change_configuration(
    conn: Connection, actor: Actor, changes: Mapping[str, float], now: datetime
) -> dict[str, float]:
    """Change thresholds by the document's keys. A clear threshold keeps its proportion. Errors: Invalid."""
    held = {rule.configuration: rule for rule in await list_rules(conn)}
    for key, threshold in changes.items():
        if key not in CONFIGURATION:
            raise Invalid(f"There is no {key!r}; the keys are {', '.join(CONFIGURATION)}.", key)
        rule = held[key]
        is_percent = key != "response_time_threshold_ms"
        if not (0 < threshold <= (100 if is_percent else 3_600_000)):
            raise Invalid(
                "A percentage above 0, 100 at most, is needed."
                if is_percent
                else "A time above 0 ms, an hour at most, is needed.",
                key,
            )
        cleared = threshold * rule.clear_threshold / rule.threshold
        if is_percent:
            cleared = min(cleared, 100.0)
        draft = replace(rule.draft, threshold=threshold, clear_threshold=cleared)
        await change_rule(conn, actor, rule.id, draft, now)
    return await load_configuration(conn)


async def check_draft(conn: Connection, draft: Draft, rule_id: UUID | None = None) -> None:
    """Refuse what no rule can be. Errors: Invalid naming the field."""
    if not 1 <= len(draft.name.strip()) <= 200:
        raise Invalid("A name of 1 to 200 characters is needed; it is what an alert says.", "name")
    if await find_rule_id(conn, draft.name) not in (None, rule_id):
        raise Invalid(_NAME_TAKEN, "name")
    await _check_subjects(conn, draft)
    _check_condition(draft)
    _require(draft.severity in SEVERITIES, f"One of {', '.join(SEVERITIES)} is needed.", "severity")
    _check_labels(draft.labels, "labels")
    _check_labels(draft.inhibits, "inhibits")
    is_link = draft.runbook_url == "" or re.match(r"https?://\S{3,500}\Z", draft.runbook_url)
    _require(bool(is_link), "A link beginning with https:// or http:// is needed.", "runbook_url")
    _require(
        draft.opens_incident is None or draft.opens_incident in INCIDENT_SEVERITIES,
        f"One of {', '.join(INCIDENT_SEVERITIES)} is needed, or none.",
        "opens_incident",
    )
    _check_action(draft)


async def _check_subjects(conn: Connection, draft: Draft) -> None:
    measure = find_measure(draft.metric)
    _require(
        draft.scope in measure.scopes,
        f"{measure.name} is measured by {' or '.join(measure.scopes)}.",
        "scope",
    )
    wanted = draft.scope_filter
    if draft.scope == "campaign" and wanted:
        try:
            await load_campaign(conn, UUID(wanted))
        except (ValueError, NotFound):
            raise Invalid("There is no campaign with this id.", "scope_filter") from None
    _require(draft.scope != ALL or not wanted, "All traffic has no filter.", "scope_filter")
    _require(
        draft.scope != "channel" or wanted in ("", *_CHANNELS),
        f"One of {', '.join(_CHANNELS)} is needed, or none.",
        "scope_filter",
    )
    _require(
        draft.scope != "country"
        or wanted == ""
        or (len(wanted) == 2 and wanted.isascii() and wanted.isupper()),
        "A country is two capitals like US, or none.",
        "scope_filter",
    )
    if draft.scope == "query":
        await _check_query(conn, wanted)
    _require(draft.scope != "host" or len(wanted) <= 255, "A host’s name is needed, or none.", "scope_filter")
    if not measure.has_window:
        _require(draft.window_seconds is None, "This metric has no window.", "window_seconds")
    elif draft.window_seconds is None:
        can_span = measure.spans_campaign and draft.scope == "campaign"
        _require(can_span, "A window in seconds is needed.", "window_seconds")
    else:
        _require(
            SHORTEST_WINDOW <= draft.window_seconds <= LONGEST_WINDOW,
            "A window of 60 s to 7 days is needed.",
            "window_seconds",
        )
    _require(draft.minimum_sample >= 0, "A sample of 0 or more is needed.", "minimum_sample")
    _require(
        draft.minimum_sample == 0 or bool(measure.sample),
        "This metric is no ratio and has no sample.",
        "minimum_sample",
    )


async def _check_query(conn: Connection, wanted: str) -> None:
    try:
        query = await find_query(conn, UUID(wanted))
    except ValueError:
        query = None
    _require(
        query is not None and query.is_shared and str(query.id) == wanted,
        "The id of a shared query is needed. GET /api/v1/queries lists them.",
        "scope_filter",
    )


def _check_condition(draft: Draft) -> None:
    _require(draft.comparison in COMPARISONS, "above or below is needed.", "comparison")
    _require(math.isfinite(draft.threshold), "A number is needed.", "threshold")
    is_beyond = (
        draft.clear_threshold <= draft.threshold
        if draft.comparison == "above"
        else draft.clear_threshold >= draft.threshold
    )
    side = "below" if draft.comparison == "above" else "above"
    _require(
        math.isfinite(draft.clear_threshold) and is_beyond,
        f"It must be the threshold or {side} it: there the alert is over.",
        "clear_threshold",
    )
    for name in ("for_seconds", "keep_seconds"):
        _require(0 <= getattr(draft, name) <= LONGEST_SECONDS, "0 s to a day are possible.", name)


def _check_labels(labels: Mapping[str, str], where: str) -> None:
    _require(len(labels) <= 20, "Twenty labels at most.", where)
    for name, value in labels.items():
        _require(
            bool(LABEL.match(name)) and 1 <= len(value) <= 200,
            f"Label {name!r}: a name of small letters, digits and underscores and a value of 1 to 200 characters are needed.",
            where,
        )


def _check_action(draft: Draft) -> None:
    _require(
        draft.action is None or draft.action in ACTIONS, f"One of {', '.join(ACTIONS)}, or none.", "action"
    )
    _require(
        draft.action is None or draft.scope == "campaign",
        "Only a rule by campaign can do something about one.",
        "action",
    )
    if draft.action == "lower_rate":
        percent = draft.action_percent
        _require(
            percent is not None and 1 <= percent <= 99, "1 to 99 % of the rate are needed.", "action_percent"
        )
    else:
        _require(draft.action_percent is None, "Only a lowered rate has a percentage.", "action_percent")


def _require(is_right: bool, message: str, name: str) -> None:
    if not is_right:
        raise Invalid(message, name)


async def _put(conn: Connection, rule_id: UUID, draft: Draft, now: datetime) -> None:
    values = asdict(draft) | {
        "name": draft.name.strip(),
        "labels": orjson.dumps(draft.labels).decode(),
        "inhibits": orjson.dumps(draft.inhibits).decode(),
    }
    try:
        await SQL.put_rule.execute(conn, values | {"id": rule_id, "now": now})
    except UniqueViolation:  # somebody else was faster by a moment
        raise Invalid(_NAME_TAKEN, "name") from None


async def _tell(
    conn: Connection,
    actor: Actor,
    what: str,
    rule_id: UUID,
    *,
    before: Draft | None,
    after: Draft | None,
    now: datetime,
) -> None:
    old, new = (asdict(one) if one else {} for one in (before, after))
    changed = [name for name in old or new if old.get(name) != new.get(name)]
    entry = Entry(
        now,
        f"alert_rule.{what}",
        f"alert_rule:{rule_id}",
        {name: old[name] for name in changed} if old else None,
        {name: new[name] for name in changed} if new else None,
    )
    await record(conn, actor, entry)
