"""What becomes of recommendations: open while they hold, seen, dismissed or taken by people, gone when they hold no more.

One row for each advice while it is followed. Deciding is done under its lock, audited, and said again is the same decision.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.actions import act, undo
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import Action, Evidence, Interval, Recommendation
from event_stream_engine.insights.recommendations import Examined, Run
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound

SQL = load_queries(__package__)
ADVISER = Actor("engine:adviser")
STATES = ("open", "taken", "dismissed", "gone")
MEASURED_FOR = timedelta(days=28)
UNSEEN_FOR = timedelta(days=1)
DISMISSED_FOR = timedelta(days=90)  # then it may be advised again, if it still holds
KEPT = timedelta(days=400)
LONGEST_REASON = 500
MOST = 500


@dataclass(frozen=True, slots=True)
class Followed:
    """A recommendation with what became of it. `content` is the recommendation as JSON, `outcome` of aftermath.py."""

    id: UUID
    key: str
    kind: str
    state: str
    content: Mapping[str, Any]
    gain: float | None
    opened_at: datetime
    found_at: datetime
    seen_at: datetime | None
    seen_by: str | None
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None
    done: str | None
    measured_at: datetime | None
    outcome: Mapping[str, Any] | None
    ended_at: datetime | None

    @property
    def recommendation(self) -> Recommendation:
        return read_recommendation(self.content)


@dataclass(frozen=True, slots=True)
class LastLook:
    """The last look of a kind. `text`: what was looked at, or why it could not be."""

    kind: str
    looked_at: datetime
    took_ms: float
    compared: int
    found: int
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class _Ended:
    id: UUID
    key: str
    state: str


async def follow(conn: Connection, run: Run, now: datetime) -> None:
    """Enter what a run has found, and end what no longer holds or has been followed for long enough."""
    found = run.advice.recommendations
    await SQL.follow_found.execute(
        conn,
        {
            "keys": [one.key for one in found],
            "kinds": [one.kind for one in found],
            "contents": [orjson.dumps(asdict(one)).decode() for one in found],
            "gains": [one.expected_gain_messages for one in found],
            "now": now,
        },
    )
    examined = [one.kind.slug for one in run.examined if one.examination is not None]
    ended = await SQL.end_past.many(
        conn,
        _Ended,
        {
            "now": now,
            "kinds": examined,
            "unseen_since": now - UNSEEN_FOR,
            "dismissed_before": now - DISMISSED_FOR,
            "taken_before": now - MEASURED_FOR,
        },
    )
    gone = [one for one in ended if one.state == "gone"]
    await record(
        conn,
        ADVISER,
        *(
            Entry(now, "recommendation.gone", f"recommendation:{one.id}", after={"key": one.key})
            for one in gone
        ),
    )
    await SQL.forget_past.execute(conn, {"before": now - KEPT})
    counts: dict[str, int] = {}
    for one in found:
        counts[one.kind] = counts.get(one.kind, 0) + 1
    await SQL.note_looks.execute(
        conn,
        {
            "kinds": [one.kind.slug for one in run.examined],
            "took_ms": [one.took_ms for one in run.examined],
            "compared": [
                len(one.examination.comparisons) if one.examination is not None else 0 for one in run.examined
            ],
            "found": [counts.get(one.kind.slug, 0) for one in run.examined],
            "texts": [_describe(one, counts.get(one.kind.slug, 0)) for one in run.examined],
            "failures": [one.failure is not None for one in run.examined],
            "now": now,
        },
    )


async def list_followed(
    conn: Connection, states: Sequence[str], *, kind: str | None = None, most: int = MOST
) -> list[Followed]:
    """Return recommendations in some states, those that promise most first. Errors: Invalid."""
    for state in states:
        if state not in STATES:
            raise Invalid(f"{state!r} is no state. Use one of {', '.join(STATES)}.", "state")
    asked = {"states": list(states), "kind": kind, "most": most}
    return await SQL.list_recommendations.many(conn, Followed, asked)


async def load_followed(conn: Connection, recommendation_id: UUID) -> Followed:
    """Errors: NotFound."""
    found = await SQL.find_recommendation.maybe(conn, Followed, {"id": recommendation_id})
    if found is None:
        raise NotFound("There is no such recommendation. What is over is forgotten after 400 days.")
    return found


async def list_last_looks(conn: Connection) -> list[LastLook]:
    return await SQL.list_looks.many(conn, LastLook)


async def find_last_look(conn: Connection) -> datetime | None:
    """Return when was last looked, None before the first time."""
    found: datetime | None = await SQL.find_last_look.value(conn)
    return found


async def mark_seen(conn: Connection, actor: Actor, recommendation_id: UUID, now: datetime) -> None:
    """Note who opened it first."""
    await SQL.note_seen.execute(conn, {"id": recommendation_id, "actor": actor.name, "now": now})


async def take(conn: Connection, actor: Actor, recommendation_id: UUID, look: Look) -> Followed:
    """Do what is recommended, or note that it was done where people do it themselves. Errors: NotFound; Conflict."""
    followed = await _lock(conn, recommendation_id)
    if followed.state == "taken":
        return followed
    _require_open(followed)
    action = followed.recommendation.action
    done = "Noted as done." if action is None else await act(conn, actor, action, followed.id, look)
    await _decide(conn, actor, followed, "taken", look.now, done=done)
    return await load_followed(conn, recommendation_id)


async def dismiss(
    conn: Connection, actor: Actor, recommendation_id: UUID, reason: str, now: datetime
) -> Followed:
    """Say no to a recommendation, and why. Errors: NotFound; Conflict; Invalid."""
    followed = await _lock(conn, recommendation_id)
    if not 1 <= len(reason.strip()) <= LONGEST_REASON or "\0" in reason:
        raise Invalid(f"Say in 1 to {LONGEST_REASON} characters why; others will read it.", "reason")
    if followed.state == "dismissed" and followed.reason == reason.strip():
        return followed
    _require_open(followed)
    await _decide(conn, actor, followed, "dismissed", now, reason=reason.strip())
    return await load_followed(conn, recommendation_id)


async def reopen(conn: Connection, actor: Actor, recommendation_id: UUID, now: datetime) -> Followed:
    """Take a decision back, and what was done with it where that can be undone. Errors: NotFound; Conflict."""
    followed = await _lock(conn, recommendation_id)
    if followed.state == "open":
        return followed
    if followed.ended_at is not None or followed.state == "gone":
        raise Conflict("This recommendation is over. If it still holds, the next look advises it again.")
    action = followed.recommendation.action
    if followed.state == "taken" and action is not None:
        await undo(conn, actor, action, followed.id, now)
    await _decide(conn, actor, followed, "open", now)
    return await load_followed(conn, recommendation_id)


async def note_outcome(
    conn: Connection, recommendation_id: UUID, outcome: Mapping[str, Any], now: datetime
) -> None:
    """Keep what came of a recommendation so far."""
    text = orjson.dumps(outcome).decode()
    await SQL.note_outcome.execute(conn, {"id": recommendation_id, "outcome": text, "now": now})


def read_recommendation(content: Mapping[str, Any]) -> Recommendation:
    """Return the recommendation that was stored as JSON."""
    # A version before this one may have stored what is not known any more.
    known = {field.name for field in fields(Recommendation)}
    given = {name: value for name, value in content.items() if name in known}
    evidence, interval, action = given["evidence"], given["interval"], given["action"]
    given["evidence"] = Evidence(tuple(evidence["columns"]), tuple(tuple(row) for row in evidence["rows"]))
    given["interval"] = None if interval is None else Interval(**interval)
    given["action"] = None if action is None else Action(**action)
    return Recommendation(**given)


async def _lock(conn: Connection, recommendation_id: UUID) -> Followed:
    found = await SQL.lock_recommendation.maybe(conn, Followed, {"id": recommendation_id})
    if found is None:
        raise NotFound("There is no such recommendation. What is over is forgotten after 400 days.")
    return found


def _require_open(followed: Followed) -> None:
    if followed.state != "open":
        was = {"gone": "no longer holds"}.get(followed.state, f"was {followed.state} by somebody")
        raise Conflict(f"This recommendation {was}. Load the page anew.")


async def _decide(
    conn: Connection,
    actor: Actor,
    followed: Followed,
    state: str,
    now: datetime,
    *,
    reason: str | None = None,
    done: str | None = None,
) -> None:
    is_decided = state != "open"
    await SQL.decide.execute(
        conn,
        {
            "id": followed.id,
            "state": state,
            "at": now if is_decided else None,
            "actor": actor.name if is_decided else None,
            "reason": reason,
            "done": done,
        },
    )
    told = {"state": state, "key": followed.key, "reason": reason, "done": done}
    after = {name: value for name, value in told.items() if value is not None}
    action = {"open": "reopened"}.get(state, state)
    entry = Entry(
        now,
        f"recommendation.{action}",
        f"recommendation:{followed.id}",
        {"state": followed.state},
        after,
    )
    await record(conn, actor, entry)


def _describe(examined: Examined, found: int) -> str:
    """Say what was looked at, also where nothing came of it."""
    examination = examined.examination
    if examination is None:
        return examined.failure or ""
    if examination.unknown is not None:
        return examination.unknown
    nothing = "No difference found" if examination.comparisons else "Nothing found"
    return f"{f'{found:,} found' if found else nothing}: {examination.looked_at}."
