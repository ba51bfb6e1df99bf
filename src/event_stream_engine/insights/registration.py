"""Countries whose carriers refuse or filter our messages: a registration, a permission or a wording is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import (
    GAIN_DAYS,
    Evidence,
    Examination,
    Interval,
    Recommendation,
)
from event_stream_engine.kernel.stats import percent, wilson
from event_stream_engine.messaging.error_codes import describe_error_code

SQL = load_queries(__package__)
FILTERED = 30007
# What these say is true of every message of the sender to the country until somebody puts it right.
CERTAIN = (21408, 21606, 30032, 30034)
CODES = (*CERTAIN, FILTERED)
LEAST_FAILED = 20
LEAST_FILTERED_PERCENT = 1.0  # carriers filter a little of everything
_WHAT = {
    21408: "Allow messages to {country} in the provider’s account",
    21606: "Use a sender that can reach {country}",
    30032: "Verify the toll-free sender for {country}",
    30034: "Register the senders that write to {country}",
    30007: "Find out why carriers in {country} filter our messages",
}


@dataclass(frozen=True, slots=True)
class Fault:
    country: str
    sender: str
    error_code: int
    failed: int
    attempted: int


async def examine(conn: Connection, look: Look) -> Examination:
    """Advise what to put right in each country where messages are refused for a reason that does not pass by itself."""
    window = {"since": look.now - timedelta(days=GAIN_DAYS), "until": look.now}
    found = await SQL.list_faults.many(conn, Fault, window | {"codes": list(CODES)})
    by_place = groupby(found, lambda one: (one.country, one.error_code))
    facts = [advice for place, ones in by_place if (advice := advise(*place, list(ones))) is not None]
    looked_at = (
        f"refusals by country in {GAIN_DAYS} days ({', '.join(map(str, sorted(CODES)))}), from {LEAST_FAILED} messages on, of"
        f" filtered ones from {LEAST_FILTERED_PERCENT:g} % on"
    )
    return Examination("registration", looked_at, facts=facts)


def advise(country: str, code: int, faults: Sequence[Fault]) -> Recommendation | None:
    """Return what to do about one code in one country, None where it is too little to act on."""
    failed, attempted = sum(one.failed for one in faults), sum(one.attempted for one in faults)
    interval = wilson(failed, attempted)
    if failed < LEAST_FAILED or interval is None:
        return None
    if code == FILTERED and interval[0] < LEAST_FILTERED_PERCENT:
        return None
    described = describe_error_code(code)
    where = country or "unknown countries"
    return Recommendation(
        key=f"registration:{country}:{code}",
        kind="registration",
        subject=f"country:{country}",
        title=_WHAT[code].format(country=where),
        text=(
            f"{failed:,} of {attempted:,} messages of these senders to {where} failed in {GAIN_DAYS} days with {code}:"
            f" {described.description}. {described.resolution}."
        ),
        evidence=Evidence(
            ("Sender", "Messages that failed", "Attempted there", "Share, %"),
            tuple(
                (one.sender, one.failed, one.attempted, percent(one.failed, one.attempted)) for one in faults
            ),
        ),
        sample_size=attempted,
        sample_unit="messages",
        address=f"/insights/failures?code={code}&country={country}",
        effect=percent(failed, attempted),
        interval=Interval(*interval, "%"),
        expected_gain_messages=failed,
    )
