"""Every part of the engine in each of its states, with since when and what to do."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from event_stream_engine.monitoring import parts
from event_stream_engine.monitoring.loops import LOOPS
from event_stream_engine.monitoring.parts import Database, HealthRow, Lag, RedisState, Unsent
from event_stream_engine.monitoring.processes import Process

NOW = datetime(2026, 3, 2, 14, 2, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def process(kind: str = "worker", **changes: object) -> Process:
    return Process(uuid4(), kind, ago(600), ago(1), 0, host="one", pid=7, **changes)  # type: ignore[arg-type]


def database(connections: int = 8, dead_letters: int = 0) -> Database:
    return Database(connections, 100, ago(3600), 18, True, dead_letters, ago(60) if dead_letters else None)


def loops(**silent: float) -> dict[str, str]:
    return {name: ago(seconds).isoformat() for name, seconds in (dict.fromkeys(LOOPS, 1.0) | silent).items()}


FULL, SOME = 950 * 1024**2, 10 * 1024**2
SPOOLING = {"spool_limit_bytes": 1024**3, "spooled_since": ago(90)}
STATES: dict[str, tuple[HealthRow, str, datetime | None]] = {
    "database": (parts.describe_database(database(), 0.5), "ok", ago(3600)),
    "database crowded": (parts.describe_database(database(81), 0.5), "warning", None),
    "database away": (parts.describe_away("it does not answer", ago(5)), "failed", ago(5)),
    "web": (parts.describe_processes("web", [process("web")], NOW), "ok", ago(600)),
    "two versions": (
        parts.describe_processes("worker", [process(version="1"), process(version="2")], NOW),
        "warning",
        ago(600),
    ),
    "web missing": (parts.describe_missing("web", ago(30)), "failed", ago(30)),
    "workers missing": (parts.describe_missing("worker", None), "failed", None),
    "loops": (parts.describe_loops([process(loops=loops())], NOW), "ok", None),
    "a loop stands still": (
        parts.describe_loops([process(loops=loops()), process(loops=loops(projector=31))], NOW),
        "failed",
        ago(31),
    ),
    "a slow loop takes its time": (
        parts.describe_loops([process(loops=loops(compactor=600))], NOW),
        "ok",
        None,
    ),
    "no loops": (parts.describe_loops([process("web")], NOW), "warning", None),
    "no lag": (parts.describe_lag(Lag(0, None), NOW), "ok", None),
    "little lag": (parts.describe_lag(Lag(10_000, ago(29)), NOW), "ok", None),
    "lag": (parts.describe_lag(Lag(1, ago(31)), NOW), "warning", ago(31)),
    "nothing unsent": (parts.describe_unsent([], NOW), "ok", None),
    "unsent at its pace": (parts.describe_unsent([Unsent("Spring", ago(7200), True)], NOW), "ok", None),
    "just due": (parts.describe_unsent([Unsent("Spring", ago(5), False)], NOW), "ok", None),
    "unsent": (
        parts.describe_unsent([Unsent("Spring", ago(7200), True), Unsent(None, ago(61), False)], NOW),
        "warning",
        ago(61),
    ),
    "spool empty": (
        parts.describe_spool([process("web", spool_bytes=SOME, spool_limit_bytes=1024**3)]),
        "ok",
        None,
    ),
    "spool": (
        parts.describe_spool([Process(uuid4(), "web", NOW, NOW, 5, SOME, **SPOOLING)]),  # type: ignore[arg-type]
        "warning",
        ago(90),
    ),
    "spool full": (
        parts.describe_spool([Process(uuid4(), "web", NOW, NOW, 5, FULL, **SPOOLING)]),  # type: ignore[arg-type]
        "failed",
        ago(90),
    ),
    "no dead letters": (parts.describe_dead_letters(database()), "ok", None),
    "dead letters": (parts.describe_dead_letters(database(dead_letters=3)), "warning", ago(60)),
    "provider": (parts.describe_provider([process(provider="twilio")])[0], "ok", None),
    "no provider": (parts.describe_provider([process()])[0], "warning", ago(600)),
    "sealed": (parts.describe_sealing(0, None, NOW), "ok", None),
    "sealing": (parts.describe_sealing(4, ago(59), NOW), "ok", None),
    "not sealed": (parts.describe_sealing(4, ago(61), NOW), "warning", ago(61)),
    "checked": (parts.describe_checking(None, NOW), "ok", None),
    "not checked": (parts.describe_checking(ago(61), NOW), "warning", ago(61)),
    "redis": (parts.describe_redis(RedisState(1024**2, 0.4, None, ago(90))), "ok", ago(90)),
    "no redis": (parts.describe_redis(None), "ok", None),
    "redis away": (
        parts.describe_redis(RedisState(None, None, "cannot be reached", ago(90))),
        "warning",
        ago(90),
    ),
}


@pytest.mark.parametrize("name", STATES)
def test_a_part_says_its_state_since_when_and_what_to_do(name: str) -> None:
    row, state, since = STATES[name]
    assert (row.state, row.since) == (state, since)
    assert bool(row.advice) == (state != "ok")
    assert bool(row.consequence) == (state != "ok") or name == "spool"
    assert row.text


def test_the_loop_that_stands_still_is_named_with_its_worker_and_what_follows() -> None:
    row = parts.describe_loops([process(loops=loops(projector=45))], NOW)
    assert row.text == "the projector of worker one:7 has stood still for 45 s"
    assert row.consequence == "Webhooks are stored, nothing is applied"
    assert "`kill 7` on one" in row.advice
    assert row.figures == {"silent_seconds": 45.0, "limit_seconds": 30.0}


def test_without_a_worker_nobody_knows_the_provider() -> None:
    assert parts.describe_provider([process("web")]) == []


def test_a_clock_ahead_gives_no_negative_ages() -> None:
    assert parts.describe_processes("web", [process("web")], ago(100)).figures["beat_age_seconds"] == 0
