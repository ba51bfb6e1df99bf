"""The check: what was handed over to the provider, judged anew from raw rows and never from the gate's own flags.

A hand-over is one call to the provider's API: a decision in the audit trail with a delivery step, or an outcome in the
log that no decision tells of. A later try of the same message is another one, and needs its own proof. Each counts once,
in the second in which the call began. What the provider turned out not to have was not handed over.

Consent is what the ledger says now about that moment: when a STOP from before a hand-over is learned of later, the
hand-over is judged anew and becomes a violation, and its evidence says when the STOP became known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

from event_stream_engine.analytics.compliance import DAY, QUARTER
from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.windows import Window
from event_stream_engine.messaging import outcomes

SQL = load_queries(__package__)
MOST_ROWS = 5_000  # of each kind in one transaction, more only to its last one's end
MOST_RECHECKED = 20_000
RECHECKED = "compliance"  # the subject of rechecks in the audit trail


@dataclass(frozen=True, slots=True)
class _Span:
    """The transactions after one, up to another. `floor_id`: audit rows up to here were ordered by another cluster."""

    after_xid: str
    to_xid: str
    floor_id: int
    is_full: bool


@dataclass(frozen=True, slots=True)
class _Eventless:
    audit_id: int
    message_id: UUID
    needs_event: str
    noted_at: datetime
    handed_at: datetime


@dataclass(frozen=True, slots=True)
class _Key:
    dedupe_key: UUID


async def prepare_check(conn: Connection) -> None:
    """Make the connection's working tables; once per connection."""
    await SQL.create_hand_overs.execute(conn)
    await SQL.create_outcomes.execute(conn)
    await SQL.create_touched.execute(conn)


async def check_next(conn: Connection, now: datetime, most: int = MOST_ROWS) -> bool:
    """Check what was committed since the last time, in the caller's transaction; True when there may be more."""
    await SQL.plan_for_values.execute(conn)  # the working tables are sometimes empty and sometimes full
    await SQL.hold_compliance.execute(conn)
    span = await SQL.find_span.maybe(conn, _Span, {"most": most})
    if span is None:
        return False
    place = {"after_xid": span.after_xid, "to_xid": span.to_xid, "floor_id": span.floor_id}
    await SQL.stage_outcomes.execute(conn, place)
    staged = await SQL.stage_decisions.execute(conn, place)
    staged += await SQL.stage_undecided.execute(conn)
    staged += await SQL.stage_reconsidered.execute(conn, place)
    if staged:
        await _judge(conn, now)
        await SQL.judge_quiet_hours.execute(conn, {"now": now})
        await SQL.count_hand_overs.execute(conn)
    if await SQL.count_rescheduled.execute(conn, place) or staged:
        await _add_up(conn, now)
    await SQL.move_compliance_place.execute(conn, {"to_xid": span.to_xid})
    return span.is_full


async def recheck_window(conn: Connection, actor: Actor, window: Window, now: datetime) -> int:
    """Judge consent and history of a window's hand-overs once more, and return how many there were.

    Finds what was changed or removed after the check. Pace does not change, and quiet hours are judged once: where
    somebody was then is known best at that time. Errors: Invalid when the window holds more than MOST_RECHECKED.
    """
    await prepare_check(conn)
    await SQL.plan_for_values.execute(conn)
    await SQL.hold_compliance.execute(conn)
    place = {"since": window.since, "until": window.until, "most": MOST_RECHECKED + 1}
    staged = await SQL.stage_past.execute(conn, place)
    if staged > MOST_RECHECKED:
        raise Invalid(
            f"More than {MOST_RECHECKED:,} messages were handed over in this period. Choose a shorter one.",
            "since",
        )
    await _judge(conn, now)
    await SQL.count_hand_overs.execute(conn)
    await _add_up(conn, now)
    after = {
        "since": format_instant(window.since),
        "until": format_instant(window.until),
        "rechecked": staged,
    }
    await record(conn, actor, Entry(now, "compliance.rechecked", RECHECKED, after=after))
    return staged


async def _judge(conn: Connection, now: datetime) -> None:
    await _find_late_events(conn)
    await SQL.judge_history.execute(conn, {"now": now})
    await SQL.judge_consent.execute(conn, {"now": now})


async def _add_up(conn: Connection, now: datetime) -> None:
    await SQL.judge_rate.execute(conn, {"now": now})
    await SQL.count_violations.execute(conn)
    for from_grain, to_grain, width in (("second", "quarter", QUARTER), ("quarter", "day", DAY)):
        grains = {"from_grain": from_grain, "to_grain": to_grain, "width": width}
        await SQL.add_up_seconds.execute(conn, grains)


async def _find_late_events(conn: Connection) -> None:
    """Look in the whole log for events that decisions need and that were not found beside them."""
    eventless = await SQL.list_eventless.many(conn, _Eventless)
    wanted = {(day, _make_key(one)): one.audit_id for one in eventless for day in _list_days(one)}
    if not wanted:
        return
    days, keys = zip(*wanted, strict=True)
    found = await SQL.list_logged_keys.many(conn, _Key, {"days": list(days), "keys": list(keys)})
    logged = {row.dedupe_key for row in found}
    ids = sorted({audit_id for (_, key), audit_id in wanted.items() if key in logged})
    await SQL.note_events.execute(conn, {"audit_ids": ids})


def _make_key(one: _Eventless) -> UUID:
    if one.needs_event == "message.accepted":
        return outcomes.accepted(one.message_id, one.noted_at, "", "").dedupe_key
    return outcomes.refused(one.message_id, one.noted_at, None).dedupe_key


def _list_days(one: _Eventless) -> Sequence[date]:
    """Return the days of the log in which the event can be: of the call's beginning to that of its decision's entry."""
    return sorted({at.astimezone(UTC).date() for at in (one.handed_at, one.noted_at)})
