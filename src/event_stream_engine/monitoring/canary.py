"""The canary at the end of its way, and the dead-man's switch that goes by it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
CANARY_AGE = timedelta(minutes=2)  # the newest one that was evaluated is younger
EVALUATION_AGE = timedelta(minutes=1)  # so is the last evaluation
PING_PERIOD = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Pings:
    """The dead-man's switch; all None when there is none. `fault`: why the last ping was not sent or not taken."""

    tried_at: datetime | None
    pinged_at: datetime | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Way:
    """How far canaries have come: when the alerts were last evaluated, and the newest canary that was there then."""

    evaluated_at: datetime | None
    received_at: datetime | None

    def find_fault(self, now: datetime) -> str | None:
        """Return what keeps events from the alerts; None when nothing does."""
        if self.evaluated_at is None or now - self.evaluated_at >= EVALUATION_AGE:
            return "alerts are not being evaluated"
        if self.received_at is None or now - self.received_at >= CANARY_AGE:
            return "no canary has come through"
        return None


async def add_batch(conn: Connection, now: datetime) -> None:
    """Note the canaries of the batch, read from the temporary table `log_batch`."""
    await SQL.add_canaries.execute(conn, {"now": now})


async def load_way(conn: Connection) -> Way:
    return await SQL.find_way.one(conn, Way)


async def take_ping(conn: Connection, now: datetime) -> bool:
    """Become the one that pings this minute."""
    taken = await SQL.take_ping.value(conn, {"now": now, "before": now - PING_PERIOD})
    return taken is not None


async def record_ping(conn: Connection, now: datetime, fault: str | None) -> None:
    """Write down what came of a ping."""
    await SQL.record_ping.execute(conn, {"now": now, "fault": fault})


async def hold_ping(conn: Connection, fault: str) -> None:
    """Write down why no ping is sent."""
    await SQL.hold_ping.execute(conn, {"fault": fault})


async def forget_pings(conn: Connection) -> None:
    """Forget a dead-man's switch that was switched off."""
    await SQL.forget_pings.execute(conn)


async def load_pings(conn: Connection) -> Pings:
    return await SQL.load_pings.one(conn, Pings)
