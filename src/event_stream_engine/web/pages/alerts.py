"""`/alerts`: what needs a person, and `/alerts/ALT001`: one alert with its history."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from event_stream_engine.access.roles import Role
from event_stream_engine.alerting import episodes, rules, silences, standings
from event_stream_engine.alerting.episodes import Episode
from event_stream_engine.alerting.measures import MEASURES
from event_stream_engine.alerting.rules import Rule
from event_stream_engine.alerting.standings import Standing, Tick
from event_stream_engine.alerting.subjects import name_subjects
from event_stream_engine.audit.trails import list_actor_names
from event_stream_engine.incidents import incidents
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.formats import format_duration
from event_stream_engine.web.alert_charts import Gauge, gauge_value
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/alerts", include_in_schema=False)
PAGE_LENGTH = 20
LATE_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class AlertRow:
    """`lasted`: until its end or now; `by`: who has it in hand."""

    episode: Episode
    gauge: Gauge | None
    lasted_seconds: float
    by: str | None


@dataclass(frozen=True, slots=True)
class WaitingRow:
    standing: Standing
    rule: Rule
    subject_name: str
    gauge: Gauge | None


@router.get("")
async def show_alerts(request: Request, cursor: str | None = None) -> Response:
    resources = resources_of(request)
    zone, now = resources.settings.timezone, resources.clock.now()
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources.pool.connection() as conn, snapshot(conn):
        firing = await episodes.list_open(conn)
        resolved = await episodes.list_resolved(
            conn, most=PAGE_LENGTH + 1, before=(before[0], before[1]) if before else None
        )
        stood = await standings.list_standings(conn)
        known = {rule.id: rule for rule in await rules.list_rules(conn)}
        waiting = [one for one in stood if one.state in ("pending", "no_data")]
        names = await name_subjects(conn, [one.subject for one in waiting])
        quiet = await silences.list_silences(conn, now)
        tick = await standings.find_tick(conn)
        actors = await list_actor_names(
            conn,
            [one.acknowledged_by for one in firing if one.acknowledged_by] + [one.author for one in quiet],
        )
    order = {"firing": 0, "acknowledged": 1}
    firing.sort(
        key=lambda one: (order[one.state], one.held_back is not None, rules.SEVERITIES.index(one.severity))
    )
    rows = [_describe_waiting(one, known[one.rule_id], names) for one in waiting]
    last = resolved[PAGE_LENGTH - 1] if len(resolved) > PAGE_LENGTH else None
    return render(
        request,
        "alerts.html",
        room="alerts",
        tab="/alerts",
        modules=["alerts.js"],
        as_of=now,
        zone=zone,
        tick=tick,
        lateness=describe_lateness(tick, now),
        firing_rows=[_describe_alert(one, now, actors) for one in firing],
        pending=[row for row in rows if row.standing.state == "pending"],
        without_data=[row for row in rows if row.standing.state == "no_data"],
        watched=len(stood),
        resolved=[_describe_alert(one, now, actors) for one in resolved[:PAGE_LENGTH]],
        next_href=f"/alerts?cursor={write_cursor(format_instant(last.resolved_at), last.id)}"
        if last and last.resolved_at
        else None,
        first_href="/alerts" if cursor else None,
        silences=[
            (one, one.holds_at(now), actors.get(one.author, one.author), _describe_hours(one, zone))
            for one in quiet
        ],
        may_write=may_write(request),
    )


@router.get("/{alert_id}")
async def show_alert(request: Request, alert_id: str) -> Response:
    resources = resources_of(request)
    now = resources.clock.now()
    async with resources.pool.connection() as conn, snapshot(conn):
        episode = await episodes.load_episode(conn, alert_id)
        steps = await episodes.list_steps(conn, episode.id)
        actors = await list_actor_names(
            conn, [step.actor for step in steps if step.actor] + [episode.acknowledged_by or ""]
        )
        rule = await rules.find_rule(conn, episode.rule_id)
        linked = await incidents.list_of_alert(conn, episode.id)
    return render(
        request,
        "alert.html",
        room="alerts",
        tab="/alerts",
        modules=["alerts.js"],
        as_of=now,
        zone=resources.settings.timezone,
        row=_describe_alert(episode, now, actors),
        alert=episode,
        rule=rule,
        linked=linked,
        steps=steps,
        names=actors,
        measure=MEASURES.get(episode.metric),
        may_write=may_write(request),
    )


@router.post("/{alert_id}/acknowledge", dependencies=[Depends(require_role(Role.operator))])
async def acknowledge(request: Request, alert_id: str) -> Response:
    """Take an alert in hand from the banner, also without a script."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        episode = await episodes.acknowledge(conn, actor_of(request), alert_id, resources.clock.now())
    resources.firing.forget()
    return RedirectResponse(f"/alerts/{episode.alert_id}", status_code=303)


def describe_lateness(tick: Tick, now: datetime) -> str | None:
    """Say that rules are not evaluated, None when they are."""
    if tick.ticked_at is None:
        return "Rules have not been evaluated yet: start a worker with `ese work`."
    if now - tick.ticked_at > LATE_AFTER:
        ago = format_duration((now - tick.ticked_at).total_seconds())
        return f"Rules were last evaluated {ago} ago: is a worker running?"
    return None


def _describe_hours(silence: silences.Silence, zone: ZoneInfo) -> str:
    schedule = silence.schedule
    if schedule is None:
        return ""
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    named = "every day" if len(schedule.weekdays) == 7 else ", ".join(days[day] for day in schedule.weekdays)
    hours = f"{schedule.starts:%H:%M}–{schedule.ends:%H:%M}"
    return f"{named} {hours}" + ("" if schedule.timezone == zone.key else f" {schedule.timezone}")


def _describe_alert(episode: Episode, now: datetime, actors: Mapping[str, str]) -> AlertRow:
    measure = MEASURES.get(episode.metric)
    by = episode.acknowledged_by
    return AlertRow(
        episode,
        gauge_value(episode.value, episode.threshold, measure.unit if measure else ""),
        max(0.0, ((episode.resolved_at or now) - episode.fired_at).total_seconds()),
        actors.get(by, by) if by else None,
    )


def _describe_waiting(standing: Standing, rule: Rule, names: Mapping[str, str]) -> WaitingRow:
    measure = MEASURES.get(rule.metric)
    gauge = gauge_value(standing.value, rule.threshold, measure.unit if measure else "")
    return WaitingRow(standing, rule, names[standing.subject], gauge)
