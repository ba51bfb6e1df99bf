"""Roll-ups: additive counters and sketches, kept by the differences that a batch left behind.

What one message adds is defined once, in generated columns of `messages`. A change adds the new row and takes back the
old one, so a roll-up always equals the sum over the rows (`ese rebuild` recounts and compares).
"""

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)


async def add_changes(conn: Connection) -> None:
    """Add what the batch changed, read from the temporary tables `…_changes` of the same transaction."""
    for query in (
        SQL.add_message_counts,
        SQL.add_campaign_counts,
        SQL.add_delivery_times,
        SQL.correct_extremes,
        SQL.add_inbound_counts,
        SQL.add_consent_counts,
        SQL.add_user_counts,
    ):
        await query.execute(conn)
