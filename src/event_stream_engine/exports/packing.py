"""From a set to a file: read, write, tell how far it is."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from event_stream_engine.exports.files import File, Sink, open_file
from event_stream_engine.exports.formats import FORMATS
from event_stream_engine.exports.orders import Order, Progress
from event_stream_engine.exports.reading import (
    LONGEST_READ_MS,
    Reading,
    estimate_rows,
    read_tables,
    write_statement,
)
from event_stream_engine.exports.sets import SQL, load_set
from event_stream_engine.infra.database import Connection, snapshot
from event_stream_engine.kernel.clock import Clock

OnProgress = Callable[[Progress], Awaitable[None]]


async def pack(
    conn: Connection, order: Order, sink: Sink, *, clock: Clock, on_progress: OnProgress
) -> Progress:
    """Write the rows of an order into a sink, and return how many there were.

    `on_progress` is told after each block, and every two seconds while one is waited for; what it raises ends the work.
    Errors: Invalid when the rows do not fit into the format.
    """
    asked, form = load_set(order.set_name), FORMATS[order.format]
    async with snapshot(conn):
        await SQL.prepare_reading.value(conn, {"timeout_ms": str(LONGEST_READ_MS)})
        statement = write_statement(conn, asked, order.filters)
        reading = Reading(statement, asked.columns, is_typed=form.is_typed, shows_numbers=order.shows_numbers)
        file = open_file(order.format, asked.columns, sink)
        begun = Progress(clock.now(), await estimate_rows(conn, statement))
        return await write_file(conn, reading, file, begun, on_progress)


async def write_file(
    conn: Connection, reading: Reading, file: File, begun: Progress, on_progress: OnProgress
) -> Progress:
    """Write what is read into a file, inside a transaction. Errors: as `pack`."""
    progress = begun

    async def beat() -> None:
        await on_progress(progress)

    tables = read_tables(conn, reading, beat)
    try:
        await on_progress(progress)
        async for table in tables:
            await asyncio.to_thread(file.write, table)
            progress = replace(progress, rows=progress.rows + table.num_rows)
            await on_progress(progress)
    finally:
        await tables.aclose()
        await asyncio.to_thread(file.close)  # also one that is given up: it may hold files of its own
    return progress
