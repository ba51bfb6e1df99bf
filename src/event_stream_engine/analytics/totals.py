"""Counters that never fall: what each batch of the projector added to the figures, for ever.

A figure tells how things are, so it can fall: a failed message is delivered after all, a late callback corrects a time. Who
scrapes us takes a counter that falls for an engine that began anew at 0. So what a batch takes back is left out here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Durations as sketches that are to be added up, each like `sketch_of` in the migrations, and their sum."""

    sketches: Sequence[Sequence[int]]
    seconds: float


@dataclass(frozen=True, slots=True)
class Totals:
    """`sent`, `delivered`, `read`: messages. `failed`: by error code, '0' where there is none; a message that is delivered
    after all stays in it. `consent`: by states, as OPT_IN>STOP."""

    sent: int
    delivered: int
    read: int
    failed: Mapping[str, int]
    inbound: Mapping[str, int]
    consent: Mapping[str, int]
    delivery: Distribution


@dataclass(frozen=True, slots=True)
class _Total:
    name: str
    label: str
    total: int


async def add_batch(conn: Connection) -> None:
    """Add what the batch added, after the roll-ups, from the same temporary tables."""
    await SQL.add_totals.execute(conn)


async def load_totals(conn: Connection) -> Totals:
    """Return all counters."""
    found: dict[str, dict[str, int]] = {}
    for row in await SQL.list_totals.many(conn, _Total):
        found.setdefault(row.name, {})[row.label] = row.total
    return Totals(
        sent=_single(found, "sent"),
        delivered=_single(found, "delivered"),
        read=_single(found, "read"),
        failed=found.get("failed", {}),
        inbound=found.get("inbound", {}),
        consent=found.get("consent", {}),
        delivery=Distribution(
            [sorted((int(place) << 40) + n for place, n in found.get("delivery_sketch", {}).items())],
            _single(found, "delivery_microseconds") / 1e6,
        ),
    )


def _single(found: Mapping[str, Mapping[str, int]], name: str) -> int:
    return found.get(name, {}).get("", 0)
