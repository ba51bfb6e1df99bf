"""`ese doctor`: what is wrong, and what to do about it."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

import psycopg
import typer
from rich.table import Table

from event_stream_engine.audit.anchors import FILE_NAME, find_last_anchor
from event_stream_engine.audit.chain import load_chain_status
from event_stream_engine.cli.session import command, open_settings, out
from event_stream_engine.infra.database import Connection, connect, describe_database
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.infra.migrating import find_pending
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import SystemClock, format_instant
from event_stream_engine.kernel.errors import EngineError
from event_stream_engine.monitoring.health import load_health
from event_stream_engine.monitoring.postgres_server import (
    find_missing_statements,
    list_missing,
    load_server,
)
from event_stream_engine.workbench.readers import find_lacking, list_statements, open_readers

OLDEST_MAJOR = 15
MOST_CLOCK_SKEW_SECONDS = 0.1
LATE_SEAL = timedelta(minutes=1)
PROBE_SECONDS = 2.0
SEEN_CLOSER = ("sealing", "provider")  # of the parts of the health, those that are checked here themselves
LEAST_FREE_BYTES = 2 * 1024**3
_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]look[/]", "failed": "[red]wrong[/]"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `state`: ok, warning, failed; `advice` says what to do."""

    name: str
    state: str
    text: str
    advice: str = ""


@command
async def examine() -> None:
    """Check database, migrations, clock, disk, public URL, provider and audit trail, and say what to do."""
    settings = open_settings()
    findings = [check_disk(settings), check_public_url(settings), check_credentials(settings)]
    findings.append(await check_provider(settings))
    if settings.database_url is None:
        async with embedded_postgres(settings.data_dir) as url:
            findings += await check_database(settings, url)
    else:
        findings += await check_database(settings, settings.database_url)
    table = Table("", "checked", "found", "what to do", box=None, pad_edge=False)
    for finding in findings:
        table.add_row(_MARKS[finding.state], finding.name, finding.text, finding.advice)
    out.print(table)
    if any(finding.state == "failed" for finding in findings):
        raise typer.Exit(1)


def check_disk(settings: Settings) -> Finding:
    there = next(folder for folder in (settings.data_dir, *settings.data_dir.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 1024**3:.1f} GB free at {settings.data_dir}"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "failed", text, "Free some space or move ESE_DATA_DIR.")
    return Finding("disk", "ok", text)


def check_public_url(settings: Settings) -> Finding:
    if not settings.is_public_url_set:
        advice = (
            "Set ESE_PUBLIC_URL to the address Twilio calls; behind a proxy no signature is right without it."
        )
        return Finding("public URL", "warning", f"not set; {settings.public_url} is assumed", advice)
    if urlsplit(settings.public_url).scheme != "https":
        return Finding(
            "public URL", "warning", settings.public_url, "Use https: passwords and messages pass here."
        )
    return Finding("public URL", "ok", settings.public_url)


def check_credentials(settings: Settings) -> Finding:
    if not settings.twilio_auth_tokens:
        return Finding(
            "credentials", "failed", "no auth token", "Set ESE_TWILIO_AUTH_TOKEN, or use `ese up --demo`."
        )
    if settings.twilio_account_sid is None:
        advice = "Set ESE_TWILIO_ACCOUNT_SID: nothing can be sent, and callbacks of other accounts are not told apart."
        return Finding("credentials", "warning", "auth token, but no account SID", advice)
    rotating = ", a second token during rotation" if len(settings.twilio_auth_tokens) > 1 else ""
    return Finding("credentials", "ok", f"account SID and auth token{rotating}")


async def check_provider(settings: Settings) -> Finding:
    """Look at who hands messages over; of the simulator also whether it listens."""
    if settings.provider == "twilio":
        if settings.twilio_auth_tokens and settings.twilio_account_sid:
            return Finding("provider", "ok", "twilio")
        advice = "Set what credentials says, or ESE_PROVIDER=simulator to send nothing."
        return Finding("provider", "warning", "twilio, but messages cannot be handed over", advice)
    parts = urlsplit(settings.simulator_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except OSError:
        advice = "Start `ese up --demo`, or correct ESE_SIMULATOR_URL."
        return Finding("provider", "failed", f"no simulator listens at {settings.simulator_url}", advice)
    writer.close()
    return Finding("provider", "ok", f"simulator at {settings.simulator_url}: nothing is really sent")


async def check_database(settings: Settings, url: str) -> list[Finding]:
    """Look at everything that needs a connection."""
    try:
        conn = await connect(url, "ese-doctor", statement_timeout_ms=10_000)
    except psycopg.OperationalError as error:
        advice = "Start it, or correct ESE_DATABASE_URL."
        return [Finding("database", "failed", f"{describe_database(url)}: {str(error).strip()}", advice)]
    async with conn:
        findings = [await check(conn) for check in CHECKS]
        pending = await asyncio.to_thread(find_pending, url)
        if pending:
            return [
                *findings,
                Finding("migrations", "failed", f"{len(pending)} pending", "Run `ese migrate`."),
            ]
        findings.append(Finding("migrations", "ok", "up to date"))
        findings.append(await check_audit_trail(conn, settings))
        findings.append(await check_queries(conn, settings, url))
        health = await load_health(conn, SystemClock().now())
        return findings + [
            Finding(row.name.lower(), row.state, row.text, row.advice)
            for row in health.rows
            if row.slug not in SEEN_CLOSER
        ]


async def check_version(conn: Connection) -> Finding:
    major = conn.info.server_version // 10_000
    if major < OLDEST_MAJOR:
        return Finding("PostgreSQL", "failed", str(major), f"Version {OLDEST_MAJOR} or newer is needed.")
    return Finding("PostgreSQL", "ok", str(major))


async def check_clock(conn: Connection) -> Finding:
    asked_at = SystemClock().now()
    row = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    answered_at = SystemClock().now()
    middle = asked_at + (answered_at - asked_at) / 2
    skew = abs((middle - row[0]).total_seconds()) if row else 0.0
    text = f"{skew * 1000:.0f} ms from the database's"
    if skew > MOST_CLOCK_SKEW_SECONDS:
        advice = "Set the clocks of all hosts by NTP: the pace of a campaign is kept in their seconds."
        return Finding("clock", "warning", text, advice)
    return Finding("clock", "ok", text)


async def check_audit_trail(conn: Connection, settings: Settings) -> Finding:
    """Compare the head of the chain with the last anchor of this host, and see whether somebody seals."""
    status = await load_chain_status(conn)
    head, anchor = status.head, find_last_anchor(settings.data_dir / FILE_NAME)
    number = head.number if head else 0
    if anchor and (anchor.number > number or (head and anchor.number == number and anchor.hash != head.hash)):
        text = f"the chain ends at batch {number}, anchored was batch {anchor.number}"
        return Finding("audit trail", "failed", text, "Run `ese audit verify`.")
    text = f"sealed to batch {number} {head.hash.hex()[:12]}…" if head else "nothing is sealed yet"
    oldest = status.oldest_unsealed_at
    if oldest is not None and SystemClock().now() - oldest > LATE_SEAL:
        text += f", {status.unsealed:,} rows since {format_instant(oldest)} are not"
        return Finding("audit trail", "warning", text, "Start `ese work`.")
    return Finding("audit trail", "ok", text)


async def check_queries(conn: Connection, settings: Settings, url: str) -> Finding:
    """Look whether people's own SQL can run: its logins are there, and let us in."""
    if await find_lacking(conn):
        statements = "\n".join(await list_statements(conn, settings.secret_key))
        advice = f"Run `ese migrate` with a role that may make roles, or have somebody run:\n{statements}"
        return Finding("queries", "warning", "people's own SQL has no login to run as", advice)
    readers = open_readers(settings, url)
    try:
        for sees_numbers in (False, True):
            async with readers.connection(sees_numbers=sees_numbers, seconds=PROBE_SECONDS):
                pass
    except EngineError as error:
        advice = "Run `ese migrate`, which sets the passwords anew (they follow from ESE_SECRET_KEY), or correct ESE_REPORTING_DATABASE_URL."
        return Finding("queries", "warning", str(error), advice)
    return Finding("queries", "ok", "people's own SQL runs by logins that can only read")


async def check_statements(conn: Connection) -> Finding:
    missing = find_missing_statements(await load_server(conn))
    if missing is None:
        return Finding("pg_stat_statements", "ok", "counts statements")
    return Finding("pg_stat_statements", "warning", missing.text, missing.advice)


async def check_statistics(conn: Connection) -> Finding:
    """Look whether the rest of what PostgreSQL counts can be seen."""
    missing = [one for one in list_missing(await load_server(conn)) if one.name != "pg_stat_statements"]
    if not missing:
        return Finding("statistics", "ok", "all to be seen")
    return Finding(
        "statistics",
        "warning",
        " ".join(one.text for one in missing),
        " ".join(one.advice for one in missing),
    )


async def check_durability(conn: Connection) -> Finding:
    row = await (
        await conn.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
    ).fetchone()
    fsync, commit = row or ("?", "?")
    if fsync == "on" and commit != "off":
        return Finding("durability", "ok", f"fsync {fsync}, synchronous_commit {commit}")
    advice = "Turn both on: a webhook is acknowledged when it is on disk."
    return Finding("durability", "failed", f"fsync {fsync}, synchronous_commit {commit}", advice)


async def check_commit_order(conn: Connection) -> Finding:
    """The log is read by transaction id, which a dump does not carry into another cluster."""
    there = await (await conn.execute("SELECT to_regclass('events') IS NOT NULL")).fetchone()
    if there is None or not there[0]:
        return Finding("commit order", "ok", "no log yet")
    row = await (
        await conn.execute(
            "SELECT coalesce(max(xid), '0') < pg_snapshot_xmax(pg_current_snapshot()) FROM events"
        )
    ).fetchone()
    if row and row[0]:
        return Finding("commit order", "ok", "of this cluster")
    advice = "Run docs/operations/after-restore.sql before anything else."
    return Finding("commit order", "failed", "the log comes from another cluster", advice)


CHECKS: tuple[Callable[[Connection], Coroutine[None, None, Finding]], ...] = (
    check_version,
    check_clock,
    check_statements,
    check_statistics,
    check_durability,
    check_commit_order,
)
