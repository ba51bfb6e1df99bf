"""Quiet hours of places: by calling code or area code, beside a campaign's own; the longest prefix decides."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid, NotFound

SQL = load_queries(__package__)
_PREFIX = re.compile(r"[1-9][0-9]{0,6}\Z")


@dataclass(frozen=True, slots=True)
class QuietRule:
    """`prefix`: digits after the plus, seven at most. The hours are local; equal ones mean none."""

    prefix: str
    starts: time
    ends: time
    reason: str


async def list_rules(conn: Connection) -> list[QuietRule]:
    """Return the rules in the order of their prefixes."""
    return await SQL.list_quiet_rules.many(conn, QuietRule)


async def put_rule(conn: Connection, actor: Actor, now: datetime, rule: QuietRule) -> QuietRule:
    """Make or change the rule of a prefix; the next claim holds it. Errors: Invalid naming the field."""
    if not _PREFIX.match(rule.prefix):
        raise Invalid("A prefix is 1 to 7 digits after the plus, like 44 or 1305.", "prefix")
    reason = rule.reason.strip()
    if not 1 <= len(reason) <= 200:
        raise Invalid("Say in 1 to 200 characters why the rule is there.", "reason")
    wanted = QuietRule(rule.prefix, rule.starts, rule.ends, reason)
    before = await _find_rule(conn, rule.prefix)
    if before != wanted:
        await SQL.put_quiet_rule.execute(
            conn, {"prefix": rule.prefix, "starts": rule.starts, "ends": rule.ends, "reason": reason}
        )
        action = "quiet_hours_rule.created" if before is None else "quiet_hours_rule.changed"
        entry = Entry(now, action, f"quiet_hours_rule:{rule.prefix}", _describe(before), _describe(wanted))
        await record(conn, actor, entry)
    return wanted


async def delete_rule(conn: Connection, actor: Actor, now: datetime, prefix: str) -> None:
    """Remove the rule of a prefix; a shorter one may hold then. Errors: NotFound."""
    before = await _find_rule(conn, prefix)
    if before is None:
        raise NotFound(f"There is no rule for +{prefix}.")
    await SQL.delete_quiet_rule.execute(conn, {"prefix": prefix})
    entry = Entry(now, "quiet_hours_rule.deleted", f"quiet_hours_rule:{prefix}", before=_describe(before))
    await record(conn, actor, entry)


async def _find_rule(conn: Connection, prefix: str) -> QuietRule | None:
    return await SQL.lock_quiet_rule.maybe(conn, QuietRule, {"prefix": prefix})


def _describe(rule: QuietRule | None) -> dict[str, Any] | None:
    if rule is None:
        return None
    return {
        "starts": rule.starts.isoformat("minutes"),
        "ends": rule.ends.isoformat("minutes"),
        "reason": rule.reason,
    }
