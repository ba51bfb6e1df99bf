"""Numbers whose messages failed for good, or again and again: writing to them costs money and the sender's reputation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from uuid import UUID

import psycopg

from event_stream_engine.audit.entries import make_hash_pads
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import (
    GAIN_DAYS,
    Action,
    Evidence,
    Examination,
    Recommendation,
)
from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.messaging.error_codes import ERROR_CODES, describe_error_code

SQL = load_queries(__package__)
CODES = [one.code for one in ERROR_CODES if one.error_class == "number"]
REPEATABLE = 30005  # a phone that is off for weeks says the same as one that is gone
FINAL = [code for code in CODES if code != REPEATABLE]
REPEATED = 3
MOST = 50_000  # at a time; the next ones follow with the next look


@dataclass(frozen=True, slots=True)
class Unreachable:
    """`failures` of the window, `recent` of these: of the last 30 days."""

    phone: str
    channel: str
    error_code: int
    failures: int
    recent: int
    last_failed_at: datetime
    last_message_id: UUID


async def list_unreachable(
    conn: Connection, look: Look, *, channel: str | None = None, most: int = MOST
) -> list[Unreachable]:
    """Return people we may write to who cannot be reached on a channel, those that cost most first."""
    inner, outer = make_hash_pads(look.secret_key)
    return await SQL.list_unreachable.many(
        conn,
        Unreachable,
        {
            "since": look.window.since,
            "recent_since": look.now - timedelta(days=GAIN_DAYS),
            "codes": CODES,
            "final": FINAL,
            "repeated": REPEATED,
            "channel": channel,
            "inner": inner,
            "outer": outer,
            "most": most,
        },
    )


async def list_shown(conn: Connection, look: Look, channel: str, most: int) -> list[Unreachable]:
    """Return the first of them for a page. Errors: Unavailable where there is too much to look through meanwhile."""
    try:
        return await list_unreachable(conn, look, channel=channel, most=most)
    except psycopg.errors.QueryCanceled:
        raise Unavailable(
            "There are too many failed messages to look through for a page. The evidence of the recommendation has the counts."
        ) from None


async def examine(conn: Connection, look: Look) -> Examination:
    """Advise to suppress numbers that cannot be reached, by channel."""
    found = sorted(await list_unreachable(conn, look), key=lambda one: one.channel)
    facts = [_advise(channel, list(people)) for channel, people in groupby(found, lambda one: one.channel)]
    looked_at = (
        "failed messages of campaigns in 90 days, for people we may write to whose number failed for good, or"
        f" {REPEATED} times with {REPEATABLE}"
    )
    return Examination("unreachable", looked_at, facts=facts)


def _advise(channel: str, people: Sequence[Unreachable]) -> Recommendation:
    failures, recent = sum(one.failures for one in people), sum(one.recent for one in people)
    many = f"{len(people):,} numbers" if len(people) > 1 else "1 number"
    return Recommendation(
        key=f"unreachable:{channel}",
        kind="unreachable",
        subject=f"channel:{channel}",
        title=f"Stop writing to {many} that cannot be reached by {_name(channel)}",
        text=(
            f"{failures:,} messages to {many} failed in 90 days with codes that mean the number itself, and none arrived after."
            f" Suppressing them keeps these messages from being sent; a person who writes to us on this channel can be written to"
            " again at once."
        ),
        evidence=Evidence(
            ("Code", "Meaning", "Numbers", "Messages that failed", "of these in 30 days"),
            tuple(
                (
                    code,
                    describe_error_code(code).description,
                    len(ones),
                    sum(one.failures for one in ones),
                    sum(one.recent for one in ones),
                )
                for code, ones in (
                    (code, [one for one in people if one.error_code == code])
                    for code in sorted({one.error_code for one in people})
                )
            ),
        ),
        sample_size=len(people),
        sample_unit="numbers",
        address=f"/insights/unreachable/{channel}",
        expected_gain_messages=recent,
        action=Action("suppress_numbers", f"Suppress {many}", {"channel": channel}),
    )


def _name(channel: str) -> str:
    return {"sms": "SMS", "whatsapp": "WhatsApp"}.get(channel, channel)
