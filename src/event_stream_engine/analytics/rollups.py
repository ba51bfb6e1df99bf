"""Roll-ups: additive counters and sketches, kept by the differences that a batch left behind.

What one message adds is defined once, in generated columns of `messages`. A change adds the new row and takes back the
old one, so a roll-up always equals the sum over the rows (`ese rebuild` recounts and compares). Changes are first summed
by minute and dimensions into the temporary tables `…_cells`, which then go into the buckets of all grains. A day is
counted as a whole when it is over (`settle_day`): adding each batch to twenty sums costs more than projecting it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
# The last 30 days and the 30 before, both of which begin and end with minutes.
MINUTES_KEPT = timedelta(days=62)
# Nearly all callbacks of a day have come by then; what comes later is added row by row.
SETTLED_AFTER = timedelta(hours=6)
GRAINS = ("minute", "quarter", "day", "month")
DAYS = ["day", "month"]


@dataclass(frozen=True, slots=True)
class _Span:
    since: datetime
    until: datetime


async def prepare_connection(conn: Connection) -> None:
    """Make the connection's working tables; once per connection."""
    for query in (
        SQL.create_message_cells,
        SQL.create_failure_cells,
        SQL.create_duration_cells,
        SQL.create_inbound_cells,
        SQL.create_consent_cells,
        SQL.create_signup_cells,
    ):
        await query.execute(conn)


async def add_changes(conn: Connection) -> None:
    """Add what the batch changed, read from the temporary tables `…_changes` of the same transaction."""
    await add_message_changes(conn)
    await SQL.add_campaign_counts.execute(conn)
    if await SQL.sum_inbound_changes.execute(conn):
        await SQL.add_inbound_cells.execute(conn, {"grains": list(GRAINS)})
        await SQL.add_inbound_hours.execute(conn)
    if await SQL.sum_consent_changes.execute(conn):
        await SQL.add_consent_cells.execute(conn, {"grains": list(GRAINS)})
    if await SQL.sum_signup_changes.execute(conn):
        await SQL.add_signup_cells.execute(conn, {"grains": list(GRAINS)})
    await SQL.add_user_counts.execute(conn)
    await add_attribute_counts(conn)


async def add_attribute_counts(conn: Connection) -> None:
    """Add what the batch changed of users by attribute."""
    if await SQL.add_attribute_counts.execute(conn):
        await SQL.drop_values_of_nobody.execute(conn)


async def add_message_changes(conn: Connection, grains: Sequence[str] = GRAINS) -> None:
    """Add what the batch changed of messages with a cohort."""
    asked = {"grains": list(grains)}
    if await SQL.sum_message_changes.execute(conn):
        await SQL.add_message_cells.execute(conn, asked)
    if await SQL.sum_failure_changes.execute(conn):
        await SQL.add_failure_cells.execute(conn, asked)
    if await SQL.sum_duration_changes.execute(conn):
        await SQL.add_duration_cells.execute(conn, asked)
        if await SQL.has_less.value(conn):
            await SQL.correct_extremes.execute(conn)
            for grain, finer in (("quarter", "quarter"), ("day", "quarter"), ("month", "day")):
                await SQL.correct_wider_extremes.execute(conn, {"grain": grain, "finer": finer})


async def settle_day(conn: Connection, now: datetime) -> bool:
    """Count the next day that is over by days and months, too; return whether there was one.

    In a transaction of its own that holds the projector's place.
    """
    span = await SQL.find_unsettled.maybe(conn, _Span, {"horizon": now - SETTLED_AFTER})
    if span is None:
        return False
    await SQL.move_days_until.execute(conn, {"until": span.until})
    await add_quarters(conn, span.since, span.until, DAYS)
    await _add_quarters_of_people(conn, span)
    return True


async def add_quarters(conn: Connection, since: datetime, until: datetime, grains: Sequence[str]) -> None:
    """Add the quarter-hours of messages of one day, or of one month alone, to coarser grains."""
    for fill, add in (
        (SQL.fill_message_cells, SQL.add_message_cells),
        (SQL.fill_failure_cells, SQL.add_failure_cells),
        (SQL.fill_duration_cells, SQL.add_duration_cells),
    ):
        if await fill.execute(conn, {"since": since, "until": until}):
            await add.execute(conn, {"grains": list(grains)})


async def _add_quarters_of_people(conn: Connection, span: _Span) -> None:
    """Add the quarter-hours of inbound messages, consent and signups to days and months; of any number of days."""
    for fill, add in (
        (SQL.fill_inbound_cells, SQL.add_inbound_cells),
        (SQL.fill_consent_cells, SQL.add_consent_cells),
        (SQL.fill_signup_cells, SQL.add_signup_cells),
    ):
        if await fill.execute(conn, {"since": span.since, "until": span.until}):
            await add.execute(conn, {"grains": DAYS})
    await SQL.add_inbound_hours.execute(conn)


async def forget_days(conn: Connection) -> None:
    """Drop days and months, for another calendar."""
    for query in (
        SQL.forget_message_days,
        SQL.forget_failure_days,
        SQL.forget_duration_days,
        SQL.forget_inbound_days,
        SQL.forget_inbound_hours,
        SQL.forget_consent_days,
        SQL.forget_signup_days,
    ):
        await query.execute(conn)


async def drop_old_minutes(conn: Connection, now: datetime) -> None:
    """Drop the minutes that are older than MINUTES_KEPT; in a transaction that holds the projector's place."""
    if await SQL.move_minutes_since.value(conn, {"since": now - MINUTES_KEPT}):
        for query in (
            SQL.drop_message_minutes,
            SQL.drop_failure_minutes,
            SQL.drop_duration_minutes,
            SQL.drop_inbound_minutes,
            SQL.drop_consent_minutes,
            SQL.drop_signup_minutes,
        ):
            await query.execute(conn)
