"""`ese doctor`: what is wrong, and what to do about it."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import typer
from rich.table import Table

from event_stream_engine.cli.session import command, open_settings, out
from event_stream_engine.infra.database import Connection, connect, describe_database
from event_stream_engine.infra.embedded import embedded_postgres
from event_stream_engine.infra.migrating import find_pending
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.clock import SystemClock
from event_stream_engine.monitoring.health import load_health

OLDEST_MAJOR = 15
MOST_CLOCK_SKEW_SECONDS = 1.0
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
    """Check database, extensions, migrations, clock, disk, public URL and credentials, and say what to do."""
    settings = open_settings()
    findings = [check_disk(settings), check_public_url(settings), check_credentials(settings)]
    if settings.database_url is None:
        async with embedded_postgres(settings.data_dir) as url:
            findings += await check_database(url)
    else:
        findings += await check_database(settings.database_url)
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
        advice = "Set ESE_TWILIO_ACCOUNT_SID, so that callbacks of other accounts are quarantined."
        return Finding("credentials", "warning", "auth token, but no account SID", advice)
    rotating = ", a second token during rotation" if len(settings.twilio_auth_tokens) > 1 else ""
    return Finding("credentials", "ok", f"account SID and auth token{rotating}")


async def check_database(url: str) -> list[Finding]:
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
        health = await load_health(conn, SystemClock().now())
        return findings + [Finding(row.name.lower(), row.state, row.text) for row in health.rows]


async def check_version(conn: Connection) -> Finding:
    major = conn.info.server_version // 10_000
    if major < OLDEST_MAJOR:
        return Finding("PostgreSQL", "failed", str(major), f"Version {OLDEST_MAJOR} or newer is needed.")
    return Finding("PostgreSQL", "ok", str(major))


async def check_clock(conn: Connection) -> Finding:
    row = await (await conn.execute("SELECT clock_timestamp()")).fetchone()
    skew = abs((SystemClock().now() - row[0]).total_seconds()) if row else 0.0
    text = f"{skew * 1000:.0f} ms from the database's"
    if skew > MOST_CLOCK_SKEW_SECONDS:
        return Finding(
            "clock", "warning", text, "Set both clocks by NTP: delivery times are differences of clocks."
        )
    return Finding("clock", "ok", text)


async def check_statements(conn: Connection) -> Finding:
    row = await (await conn.execute("SELECT current_setting('shared_preload_libraries', true)")).fetchone()
    if row and "pg_stat_statements" in (row[0] or ""):
        return Finding("pg_stat_statements", "ok", "loaded")
    advice = "Add it to shared_preload_libraries and restart PostgreSQL, to see slow queries."
    return Finding("pg_stat_statements", "warning", "not loaded", advice)


async def check_durability(conn: Connection) -> Finding:
    row = await (
        await conn.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')")
    ).fetchone()
    fsync, commit = row or ("?", "?")
    if fsync == "on" and commit != "off":
        return Finding("durability", "ok", f"fsync {fsync}, synchronous_commit {commit}")
    advice = "Turn both on: a webhook is acknowledged when it is on disk."
    return Finding("durability", "failed", f"fsync {fsync}, synchronous_commit {commit}", advice)


CHECKS: tuple[Callable[[Connection], Coroutine[None, None, Finding]], ...] = (
    check_version,
    check_clock,
    check_statements,
    check_durability,
)
