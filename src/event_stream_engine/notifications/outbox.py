"""The outbox: notices on their way to channels, queued in the transaction of what they tell."""

from collections.abc import Sequence
from uuid import UUID

import orjson

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.notifications.notice import Notice

SQL = load_queries(__package__)


async def queue(
    conn: Connection, notices: Sequence[Notice], channel_ids: Sequence[UUID] | None = None
) -> int:
    """Queue notices for the channels that the routes choose, or for exactly those named; return the deliveries queued.

    A resolved one goes to whoever was told of its episode, whatever the routes say now. Channels that are switched off
    or removed get nothing; neither does a channel a key a second time.
    """
    if not notices:
        return 0
    columns = {
        "key": [notice.key for notice in notices],
        "kind": [notice.kind for notice in notices],
        "severity": [notice.severity for notice in notices],
        "labels": [orjson.dumps(dict(notice.labels)).decode() for notice in notices],
        "episode_id": [notice.episode_id for notice in notices],
        "title": [notice.title for notice in notices],
        "body": [notice.text for notice in notices],
        "facts": [orjson.dumps(notice.facts).decode() for notice in notices],
        "path": [notice.path for notice in notices],
        "at": [notice.at for notice in notices],
        "html": [notice.html for notice in notices],
    }
    await SQL.add_notices.execute(conn, columns)
    queued = 0
    # Two statements: who is told of an end is looked up among the deliveries of its fire, which may be of the same call.
    for is_end in (False, True):
        part = [notice for notice in notices if notice.is_resolved == is_end]
        if part:
            queued += await SQL.queue_deliveries.execute(
                conn,
                {
                    "key": [notice.key for notice in part],
                    "group_key": [notice.group for notice in part],
                    "named": None if channel_ids is None else list(channel_ids),
                },
            )
    return queued
