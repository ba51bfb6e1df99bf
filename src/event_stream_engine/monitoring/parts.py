"""What is measured of each part of the engine, said so that a person knows its state, since when, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.monitoring.loops import LOOPS
from event_stream_engine.monitoring.processes import Process

LATE_AFTER_SECONDS = 30
UNSENT_AFTER_SECONDS = 60
UNSEALED_AFTER_SECONDS = 60
UNCHECKED_AFTER_SECONDS = 60
CROWDED_SHARE = 0.8
# A load balancer is told in time to send webhooks elsewhere, before the rest of the disk's share is used up.
FULL_SHARE = 0.9
MOST_COUNTED = 10_000
STATES = ("ok", "warning", "failed")  # from good to bad
MB = 1024**2


@dataclass(frozen=True, slots=True)
class HealthRow:
    """One part of the engine. `state`: ok, warning, failed. `since`: when what is told of began, where that is known.

    Shape: `advice` has commands between backticks; `figures` are the numbers of `text`, units in their names.
    """

    slug: str
    name: str
    state: str
    text: str
    since: datetime | None = None
    consequence: str = ""
    advice: str = ""
    detail: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Database:
    connections: int
    most_connections: int
    started_at: datetime
    major: int
    is_embedded: bool
    dead_letters: int
    oldest_dead_letter_at: datetime | None


@dataclass(frozen=True, slots=True)
class Lag:
    events: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Unsent:
    """What is due longest. `campaign` is None for the auto-replies."""

    campaign: str | None
    oldest_due_at: datetime
    is_moving: bool


@dataclass(frozen=True, slots=True)
class RedisState:
    memory_bytes: int | None
    latency_ms: float | None
    fault: str | None
    since: datetime


def seconds_since(at: datetime | None, now: datetime) -> float:
    """Return how long ago something was, 0 for nothing and for what another host's clock puts in the future."""
    return 0.0 if at is None else max(0.0, (now - at).total_seconds())


def describe_database(database: Database, latency_ms: float) -> HealthRow:
    crowded = database.connections > database.most_connections * CROWDED_SHARE
    kind = "embedded" if database.is_embedded else "external"
    return HealthRow(
        "database",
        "Database",
        "warning" if crowded else "ok",
        f"{latency_ms:.1f} ms · {database.connections} of {database.most_connections} connections · {kind}, PostgreSQL {database.major}",
        since=None if crowded else database.started_at,
        consequence="Soon nobody can connect any more" if crowded else "",
        advice="Raise `max_connections`, or run fewer processes on this database." if crowded else "",
        figures={
            "latency_ms": round(latency_ms, 2),
            "connections": database.connections,
            "most_connections": database.most_connections,
        },
    )


def describe_away(reason: str, since: datetime) -> HealthRow:
    return HealthRow(
        "database",
        "Database",
        "failed",
        f"away: {reason}",
        since=since,
        consequence="Webhooks are kept on disk, figures stand still, nothing is sent",
        advice="Look at the database’s own log and start it; `ese doctor` tells what it finds.",
    )


def describe_silence(since: datetime) -> HealthRow:
    """Describe what a page sees when nobody answers it."""
    return HealthRow(
        "web",
        "Web",
        "failed",
        "nobody answers this page",
        since=since,
        consequence="What is shown is as it was then; webhooks may be refused",
        advice="Start `ese serve`, or see to the network between here and there.",
    )


def describe_processes(kind: str, live: Sequence[Process], now: datetime) -> HealthRow:
    age = seconds_since(max(process.beat_at for process in live), now)
    versions = sorted({process.version for process in live if process.version})
    places = [f"{process.host}:{process.pid}" for process in live]
    where = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    mixed = len(versions) > 1
    return HealthRow(
        kind,
        _name_kind(kind),
        "warning" if mixed else "ok",
        f"{len(live)} running · beat {round(age)} s ago",
        since=min(process.started_at for process in live),
        consequence="Two versions work on one database" if mixed else "",
        advice="Restart those of the older version." if mixed else "",
        detail=f"{where} · version {' and '.join(versions)}",
        figures={"running": len(live), "beat_age_seconds": round(age, 1)},
    )


def describe_missing(kind: str, last_seen_at: datetime | None) -> HealthRow:
    if kind == "web":
        consequence, command = "Webhooks are answered by nobody", "ese serve"
    else:
        consequence, command = "Webhooks are stored, nothing is applied and nothing is sent", "ese work"
    return HealthRow(
        kind,
        _name_kind(kind),
        "failed",
        "none is running",
        since=last_seen_at,
        consequence=consequence,
        advice=f"Start `{command}`.",
        figures={"running": 0, "beat_age_seconds": None},
    )


def describe_loops(live: Sequence[Process], now: datetime) -> HealthRow:
    """Describe the loop that is silent for the largest part of its limit."""
    rounds = [
        (parse_instant(at), name, process)
        for process in live
        for name, at in process.loops.items()
        if name in LOOPS
    ]
    if not rounds:
        return HealthRow(
            "loops",
            "Worker loops",
            "warning",
            "no worker tells of any",
            consequence="Nothing of what a worker does is done",
            advice="Start `ese work`.",
            figures={"silent_seconds": None, "limit_seconds": None},
        )
    at, name, process = max(
        rounds, key=lambda one: seconds_since(one[0], now) / LOOPS[one[1]].limit.total_seconds()
    )
    silent, limit = seconds_since(at, now), LOOPS[name].limit.total_seconds()
    figures: dict[str, float | None] = {"silent_seconds": round(silent, 1), "limit_seconds": limit}
    if silent <= limit:
        going = len({name for _, name, _ in rounds})
        text = f"all {going} go round · longest silent: {name}, {_word(silent)}"
        return HealthRow("loops", "Worker loops", "ok", text, figures=figures)
    return HealthRow(
        "loops",
        "Worker loops",
        "failed",
        f"the {name} of worker {process.host}:{process.pid} has stood still for {_word(silent)}",
        since=at,
        consequence=LOOPS[name].consequence,
        advice=f"Look at the log of that worker for the {name}; then end it with `kill {process.pid}` on {process.host}"
        " and start `ese work`, unless a supervisor does.",
        figures=figures,
    )


def describe_lag(lag: Lag, now: datetime) -> HealthRow:
    seconds = seconds_since(lag.oldest_at, now)
    more = " or more" if lag.events >= MOST_COUNTED else ""
    count = f"{lag.events:,}{more} {'event' if lag.events == 1 else 'events'}"
    late = lag.events > 0 and seconds > LATE_AFTER_SECONDS
    return HealthRow(
        "event_lag",
        "Event lag",
        "warning" if late else "ok",
        f"{count} · {_word(seconds)}",
        since=lag.oldest_at if late else None,
        consequence="Figures and statuses are behind by as much" if late else "",
        advice="See that a worker runs, and whether a transaction was left open: it holds up the reading."
        if late
        else "",
        figures={"events": lag.events, "seconds": round(seconds, 1)},
    )


def describe_unsent(unsent: Sequence[Unsent], now: datetime) -> HealthRow:
    """Describe the oldest message that is due and not handed over; a campaign's pace may well keep it waiting."""
    stuck = next(
        (
            one
            for one in unsent
            if not one.is_moving and seconds_since(one.oldest_due_at, now) > UNSENT_AFTER_SECONDS
        ),
        None,
    )
    oldest = stuck or (unsent[0] if unsent else None)
    seconds = None if oldest is None else round(seconds_since(oldest.oldest_due_at, now), 1)
    whose = "" if oldest is None else f"of {oldest.campaign}" if oldest.campaign else "an auto-reply"
    return HealthRow(
        "unsent",
        "Oldest unsent",
        "warning" if stuck else "ok",
        "nothing waits"
        if oldest is None
        else f"due {_word(seconds or 0)} ago, {whose}{'' if stuck else ', at its pace'}",
        since=stuck.oldest_due_at if stuck else None,
        consequence="Nothing of it was handed over in the last minute" if stuck else "",
        advice="See whether the provider answers: `ese doctor`, and the log of the worker." if stuck else "",
        figures={"due_seconds": seconds},
    )


def describe_spool(live: Sequence[Process]) -> HealthRow:
    events = sum(process.spooled for process in live)
    used = sum(process.spool_bytes for process in live if process.spooled)
    share = max(
        (spool_share(process.spool_bytes, process.spool_limit_bytes) for process in live), default=0.0
    )
    full = share >= FULL_SHARE
    since = min((process.spooled_since for process in live if process.spooled_since), default=None)
    return HealthRow(
        "spool",
        "Spool",
        "failed" if full else "warning" if events else "ok",
        f"{events:,} {'event waits' if events == 1 else 'events wait'} on disk · {used / MB:,.1f} MB, {100 * share:.0f} % of the limit"
        if events
        else "empty",
        since=since,
        consequence="Webhooks will be refused" if full else "",
        advice="Bring the database back; the spool empties by itself."
        + (" Or raise ESE_SPOOL_LIMIT_MB." if full else "")
        if events
        else "",
        figures={
            "events": events,
            "used_mb": round(used / MB, 2),
            "limit_share_percent": round(100 * share, 2),
        },
    )


def spool_share(used_bytes: int, limit_bytes: int | None) -> float:
    return used_bytes / limit_bytes if limit_bytes else 0.0


def describe_dead_letters(database: Database) -> HealthRow:
    count = database.dead_letters
    return HealthRow(
        "dead_letters",
        "Dead letters",
        "warning" if count else "ok",
        f"{count:,} to look at" if count else "none",
        since=database.oldest_dead_letter_at,
        consequence="What they tell is in no figure" if count else "",
        advice="Read their reasons in `dead_letters`, put right what they name, then `ese replay`."
        if count
        else "",
        figures={"events": count},
    )


def describe_provider(live: Sequence[Process]) -> list[HealthRow]:
    """Say who messages are handed to; no row without a worker, who alone knows."""
    workers = [process for process in live if process.kind == "worker"]
    if not workers:
        return []
    providers = sorted({worker.provider for worker in workers if worker.provider})
    if providers:
        note = ": nothing is really sent" if providers == ["simulator"] else ""
        return [HealthRow("provider", "Provider", "ok", " and ".join(providers) + note)]
    return [
        HealthRow(
            "provider",
            "Provider",
            "warning",
            "not configured",
            since=min(worker.started_at for worker in workers),
            consequence="Messages cannot be handed over",
            advice="Set ESE_TWILIO_ACCOUNT_SID and ESE_TWILIO_AUTH_TOKEN, and start the worker anew.",
        )
    ]


def describe_sealing(unsealed: int, oldest_at: datetime | None, now: datetime) -> HealthRow:
    seconds = seconds_since(oldest_at, now)
    late = seconds > UNSEALED_AFTER_SECONDS
    return HealthRow(
        "sealing",
        "Audit trail",
        "warning" if late else "ok",
        f"{unsealed:,} {'entry' if unsealed == 1 else 'entries'} not sealed · {_word(seconds)}"
        if unsealed
        else "sealed",
        since=oldest_at if late else None,
        consequence="A change of these entries would not be noticed" if late else "",
        advice="See that a worker runs; its log names what keeps it from sealing." if late else "",
        figures={"entries": unsealed, "seconds": round(seconds, 1)},
    )


def describe_checking(oldest_at: datetime | None, now: datetime) -> HealthRow:
    seconds = seconds_since(oldest_at, now)
    late = seconds > UNCHECKED_AFTER_SECONDS
    return HealthRow(
        "checking",
        "Compliance check",
        "warning" if late else "ok",
        f"{_word(seconds)} behind" if oldest_at else "up to date",
        since=oldest_at if late else None,
        consequence="Violations since then are not found yet" if late else "",
        advice="See that a worker runs, and whether a transaction was left open." if late else "",
        figures={"seconds": round(seconds, 1)},
    )


def describe_redis(redis: RedisState | None) -> HealthRow:
    if redis is None:
        unknown: dict[str, float | None] = {"latency_ms": None, "memory_mb": None}
        return HealthRow("redis", "Redis", "ok", "not configured", figures=unknown)
    away = redis.fault is not None
    memory = None if redis.memory_bytes is None else round(redis.memory_bytes / MB, 2)
    return HealthRow(
        "redis",
        "Redis",
        "warning" if away else "ok",
        redis.fault or f"{redis.latency_ms:.1f} ms · {memory} MB",
        since=redis.since,
        consequence="The engine itself goes on without it" if away else "",
        advice="Start it, or correct ESE_REDIS_URL." if away else "",
        figures={"latency_ms": redis.latency_ms, "memory_mb": memory},
    )


def _name_kind(kind: str) -> str:
    return "Web" if kind == "web" else "Workers"


def _word(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 48 * 3600 else f"{timedelta(seconds=seconds).days} days"
