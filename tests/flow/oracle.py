"""The oracle: every figure once more, by SQL of its own in DuckDB, from the log and the rows that were given.

Written after the definitions of the figures and of the provider's callbacks, and shares nothing with the engine. It
takes over what came from outside: the log's events, queued messages, people, what was entered into the ledger by hand,
campaigns. What the engine made of them (states, instants, intents, replies, countries, consent, roll-ups) it works out
itself. Instants are microseconds since 1970.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil, sqrt
from pathlib import Path
from statistics import NormalDist
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import phonenumbers

MICROSECOND = timedelta(microseconds=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What is exported of PostgreSQL: name → (columns with their types here, the query's end).
EXPORTS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "events": (
        {"received_at": "instant", "event_type": "VARCHAR", "payload": "VARCHAR"},
        "FROM events WHERE event_type LIKE 'message.%' OR event_type IN ('receipt.received', 'inbound.received')",
    ),
    "queued": (
        {"id": "VARCHAR", "campaign_id": "VARCHAR", "recipient_phone": "VARCHAR", "channel": "VARCHAR", "sender": "VARCHAR", "in_reply_to": "VARCHAR"},
        "FROM messages WHERE queued_at IS NOT NULL",
    ),
    "people": ({"phone_e164": "VARCHAR", "created_at": "instant", "attributes": "VARCHAR"}, "FROM users"),
    "entered": (
        {"phone_e164": "VARCHAR", "occurred_at": "instant", "id": "VARCHAR", "action": "VARCHAR", "source": "VARCHAR"},
        "FROM consent_ledger WHERE message_sid IS NULL",
    ),
    "campaigns": (
        {"id": "VARCHAR", "name": "VARCHAR", "segment_id": "VARCHAR", "template_id": "VARCHAR", "state": "VARCHAR", "created_at": "instant", "started_at": "instant", "finished_at": "instant"},
        "FROM campaigns",
    ),
    "segments": ({"id": "VARCHAR", "name": "VARCHAR"}, "FROM segments"),
    "templates": ({"id": "VARCHAR", "name": "VARCHAR"}, "FROM templates"),
}  # fmt: skip

# What the words of the whole body, and the words anywhere in it, mean.
WORDS = {
    "stop": ["stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout", "opt out"],
    "help": ["help", "info"],
    "start": ["start", "unstop"],
    "yes": ["yes"],
}
ORDER_WORDS = ["order", "orders", "delivery", "refund", "tracking", "shipped"]
# Steps of a series with the longest window they are for, and how many months of the calendar one is.
STEPS = [
    (timedelta(hours=5), timedelta(minutes=5), 0), (timedelta(hours=15), timedelta(minutes=15), 0),
    (timedelta(hours=60), timedelta(hours=1), 0), (timedelta(days=15), timedelta(hours=6), 0), (timedelta(days=60), DAY, 0),
    (timedelta(days=190), 7 * DAY, 0), (timedelta(days=5 * 366), DAY, 1), (timedelta(days=3660), DAY, 4),
]  # fmt: skip
INTENTS = ("stop", "help", "start", "order", "general")

# From the log and the queued messages: what was told of each message, and who it went to.
_TOLD = (
    # The provider's statuses: a higher rank wins, inside a rank what came first; of one instant the one listed first.
    """
    CREATE TABLE ranks AS SELECT * FROM (VALUES
        ('accepted', 0, 0), ('scheduled', 1, 0), ('queued', 2, 10), ('sending', 3, 20), ('sent', 4, 30), ('canceled', 5, 40),
        ('failed', 6, 40), ('undelivered', 7, 40), ('delivered', 8, 50), ('read', 9, 60)) AS r (status, place, rank)
    """,
    """
    CREATE TABLE receipts AS
    SELECT received_at AS seen_at, payload ->> '$.MessageSid' AS sid, lower(payload ->> '$.MessageStatus') AS status,
           try_cast(payload ->> '$.ErrorCode' AS INTEGER) AS code, payload ->> '$.To' AS address,
           regexp_replace(payload ->> '$.From', '^[a-z]+:', '') AS sender,
           CASE WHEN payload ->> '$.EseMessageId' IN (SELECT id FROM queued) THEN payload ->> '$.EseMessageId' END AS id
    FROM events WHERE event_type = 'receipt.received'
    """,
    """
    CREATE TABLE outcomes AS
    SELECT received_at AS seen_at, payload ->> '$.MessageId' AS id, payload ->> '$.MessageSid' AS sid, substr(event_type, 9) AS kind,
           lower(payload ->> '$.MessageStatus') AS status, try_cast(payload ->> '$.ErrorCode' AS INTEGER) AS code, payload ->> '$.Reason' AS reason
    FROM events WHERE event_type LIKE 'message.%'
    """,
    "CREATE TABLE sids AS SELECT DISTINCT sid, id FROM (SELECT sid, id FROM outcomes UNION ALL SELECT sid, id FROM receipts) WHERE sid IS NOT NULL AND id IS NOT NULL",
    """
    CREATE TABLE told AS
    SELECT coalesce(s.id, r.sid) AS name, seen_at, status, code, true AS by_provider FROM receipts r LEFT JOIN sids s USING (sid)
    UNION ALL
    SELECT id, seen_at, CASE kind WHEN 'accepted' THEN status ELSE 'failed' END, code, false FROM outcomes WHERE kind IN ('accepted', 'refused')
    """,
    # Who they went to: of our own as they were queued, of others as their callbacks say.
    """
    CREATE TABLE known AS
    SELECT q.id AS name, true AS is_own, q.campaign_id, q.recipient_phone AS phone, q.channel, q.sender, q.in_reply_to, (SELECT min(sid) FROM sids s WHERE s.id = q.id) AS sid
    FROM queued q
    UNION ALL
    SELECT sid, false, NULL, min(regexp_replace(address, '^[a-z]+:', '')), min(CASE WHEN contains(address, ':') THEN split_part(address, ':', 1) ELSE 'sms' END),
           min(sender), NULL, sid
    FROM receipts WHERE sid NOT IN (SELECT sid FROM sids) GROUP BY sid
    """,
)  # fmt: skip
# With the countries of the numbers: what follows from it.
_FOLLOWING = (
    """
    CREATE TABLE messages AS
    WITH ranked AS (SELECT t.*, r.place, r.rank FROM told t JOIN ranks r USING (status)), folded AS (
        SELECT name,
               first(status ORDER BY rank DESC, seen_at, place) AS status,
               first(coalesce(code, 0) ORDER BY rank DESC, seen_at, place, coalesce(code, 0)) AS code,
               first(status ORDER BY seen_at, place) FILTER (WHERE by_provider) AS first_status,
               first(status ORDER BY seen_at DESC, place DESC) FILTER (WHERE by_provider) AS last_status,
               min(seen_at) FILTER (WHERE by_provider) AS first_at,
               min(seen_at) FILTER (WHERE status = 'sent') AS sent_at,
               min(seen_at) FILTER (WHERE status = 'delivered') AS delivered_at,
               bool_or(status IN ('failed', 'undelivered')) AND bool_or(status IN ('delivered', 'read')) AS is_conflict
        FROM ranked GROUP BY name
    ), handed AS (
        SELECT id AS name, min(seen_at) FILTER (WHERE kind IN ('accepted', 'refused')) AS answered_at,
               first(reason ORDER BY seen_at) FILTER (WHERE kind = 'skipped') AS skip_reason, bool_or(kind = 'skipped') AS is_skipped, min(seen_at) FILTER (WHERE kind = 'skipped') AS skipped_at,
               max(seen_at) FILTER (WHERE kind = 'unsure') AS unsure_at, max(seen_at) FILTER (WHERE kind = 'requeued') AS requeued_at,
               bool_or(kind = 'postponed') AS is_postponed, first(coalesce(code, 0) ORDER BY seen_at, coalesce(code, 0)) FILTER (WHERE kind = 'postponed') AS postponed_code
        FROM outcomes GROUP BY id
    ), joined AS (
        SELECT k.*, c.country, f.* EXCLUDE (name, status), h.* EXCLUDE (name),
               upper(CASE WHEN f.status IS NOT NULL THEN f.status WHEN h.is_skipped THEN 'skipped'
                          WHEN h.unsure_at > coalesce(h.requeued_at, 0) THEN 'unknown' ELSE 'pending' END) AS status,
               CASE WHEN is_own THEN coalesce(h.answered_at, f.first_at) ELSE f.first_at END AS cohort_at,
               CASE WHEN is_own THEN h.answered_at ELSE f.sent_at END AS taken_at,
               CASE WHEN is_own THEN k.sid IS NOT NULL ELSE NOT (f.first_status = 'failed' AND f.last_status = 'failed') END AS is_sent
        FROM known k LEFT JOIN folded f USING (name) LEFT JOIN handed h USING (name) LEFT JOIN countries c USING (phone)
    )
    SELECT name, sid, is_own, campaign_id, phone, channel, sender, country, in_reply_to, cohort_at, status, is_sent, coalesce(is_conflict, false) AS is_conflict,
           status IN ('DELIVERED', 'READ') AS is_delivered, status IN ('FAILED', 'UNDELIVERED') AS is_failed, code,
           coalesce(is_postponed, false) AS is_postponed, postponed_code, skip_reason, skipped_at,
           CASE WHEN delivered_at >= taken_at THEN delivered_at - taken_at END AS delivery,
           CASE WHEN is_own AND delivered_at >= sent_at THEN delivered_at - sent_at END AS carrier, -- of others it is the delivery time
           CASE WHEN is_own THEN CASE WHEN sent_at >= answered_at THEN sent_at - answered_at END
                WHEN first_status IN ('accepted', 'scheduled', 'queued', 'sending') AND sent_at >= first_at THEN sent_at - first_at END AS queue
    FROM joined
    """,
    """
    CREATE TABLE written AS
    SELECT DISTINCT ON (sid) received_at AS seen_at, payload ->> '$.MessageSid' AS sid, regexp_replace(payload ->> '$.From', '^[a-z]+:', '') AS phone,
           CASE WHEN contains(payload ->> '$.From', ':') THEN split_part(payload ->> '$.From', ':', 1) ELSE 'sms' END AS channel,
           lower(payload ->> '$.OptOutType') AS opt_out_type, lower(coalesce(payload ->> '$.Body', '')) AS body
    FROM events WHERE event_type = 'inbound.received' ORDER BY sid, seen_at
    """,
    """
    CREATE TABLE keyed AS
    SELECT w.*, CASE WHEN opt_out_type IN ('stop', 'start', 'help') THEN opt_out_type
                     ELSE coalesce((SELECT keyword FROM words WHERE words.body = trim(regexp_replace(w.body, '[\\s\\p{Z}]+', ' ', 'g'))),
                                   CASE WHEN list_has_any(regexp_extract_all(w.body, '[a-z]+'), (SELECT list(word) FROM order_words)) THEN 'order' ELSE 'general' END) END AS keyword
    FROM written w
    """,
    # The ledger: what people wrote and what was entered for them, in the order of occurrence, folded into states.
    """
    CREATE TABLE consent AS
    WITH RECURSIVE said AS (
        SELECT phone, seen_at, keyword AS action, 'inbound' AS source, sid, '' AS id FROM keyed WHERE keyword IN ('stop', 'start', 'yes')
        UNION ALL
        SELECT phone_e164, occurred_at, action, source, NULL, id FROM entered
    ), numbered AS (
        SELECT *, row_number() OVER (PARTITION BY phone ORDER BY seen_at, id, sid) AS number FROM said
    ), fold AS (
        SELECT phone, 0::BIGINT AS number, 0::BIGINT AS seen_at, ''::VARCHAR AS action, ''::VARCHAR AS source, NULL::VARCHAR AS sid, 'UNKNOWN' AS before, 'UNKNOWN' AS after
        FROM (SELECT DISTINCT phone FROM said)
        UNION ALL
        SELECT n.phone, n.number, n.seen_at, n.action, n.source, n.sid, f.after,
               CASE WHEN n.action = 'stop' THEN 'STOP'
                    WHEN n.action = 'prove' THEN 'OPT_IN'
                    WHEN n.action = 'opt_out' AND f.after <> 'STOP' THEN 'OPT_OUT'
                    WHEN n.action = 'opt_in' AND f.after = 'UNKNOWN' THEN 'OPT_IN'
                    WHEN n.action IN ('start', 'yes') AND f.after = 'STOP' THEN 'OPT_IN'
                    ELSE f.after END
        FROM fold f JOIN numbered n ON n.phone = f.phone AND n.number = f.number + 1
    )
    SELECT * FROM fold WHERE number > 0
    """,
    """
    CREATE TABLE inbound AS
    SELECT k.*, CASE WHEN k.keyword <> 'yes' THEN k.keyword
                     WHEN (SELECT before FROM consent c WHERE c.sid = k.sid) = 'STOP' THEN 'start' ELSE 'general' END AS intent,
           (SELECT first(m.sid ORDER BY m.cohort_at DESC, m.sid DESC) FROM messages m
            WHERE m.phone = k.phone AND m.sid IS NOT NULL AND m.cohort_at <= k.seen_at AND m.cohort_at >= k.seen_at - 72 * 3600000000) AS answers,
           EXISTS (SELECT 1 FROM messages m WHERE m.phone = k.phone AND m.sid IS NOT NULL AND m.cohort_at BETWEEN k.seen_at - 300000000 AND k.seen_at) AS is_immediate,
           EXISTS (SELECT 1 FROM messages m WHERE m.in_reply_to = k.sid AND m.is_sent) AS is_auto_replied
    FROM keyed k
    """,
    """
    CREATE TABLE answered AS
    SELECT answers AS sid, min(seen_at) AS replied_at, min(seen_at) FILTER (WHERE intent = 'stop') AS stopped_at FROM inbound WHERE answers IS NOT NULL GROUP BY 1
    """,
    """
    CREATE TABLE users AS
    SELECT p.phone_e164 AS phone, p.created_at, p.attributes, coalesce((SELECT first(after ORDER BY number DESC) FROM consent c WHERE c.phone = p.phone_e164), 'UNKNOWN') AS state
    FROM people p
    """,
)  # fmt: skip


async def export_rows(conn: Any, folder: Path) -> None:
    """Write what the oracle takes over as CSV files."""
    for name, (columns, rest) in EXPORTS.items():
        chosen = ", ".join(
            f"(extract(epoch FROM {column}) * 1000000)::bigint" if kind == "instant" else column
            for column, kind in columns.items()
        )
        with (folder / f"{name}.csv").open("wb") as file:
            async with (
                conn.cursor() as cursor,
                cursor.copy(f"COPY (SELECT {chosen} {rest}) TO STDOUT (FORMAT csv, NULL '\\N')") as copy,
            ):
                async for block in copy:
                    file.write(block)


@dataclass(frozen=True, slots=True)
class Times:
    """Durations in seconds, ascending."""

    seconds: Sequence[float]

    @property
    def average(self) -> float | None:
        return sum(self.seconds) / len(self.seconds) if self.seconds else None

    def percentile(self, percent: int) -> float:
        return self.seconds[ceil(percent / 100 * len(self.seconds)) - 1]


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages of a scope; `unknown`: SENT and more than 72 h old."""

    by_status: Mapping[str, int]
    attempted: int
    sent: int
    delivered: int
    failed: int
    conflicts: int
    replied: int
    stopped: int
    unknown: int


@dataclass(frozen=True, slots=True)
class CampaignCounts:
    """`seconds`: from the start to the last recipient handed over or skipped; None while it goes on."""

    by_status: Mapping[str, int]
    skipped_by_reason: Mapping[str, int]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Inbound:
    by_intent: Mapping[str, int]
    by_day: Mapping[str, Mapping[str, int]]
    by_hour: Mapping[int, int]
    by_weekday_and_hour: Mapping[tuple[int, int], int]
    total: int
    senders: int
    immediate: int
    auto_replied: int
    unanswered_help: int


class Oracle:
    """Answers for one export, as of an instant and for one zone."""

    def __init__(self, folder: Path, zone: ZoneInfo, as_of: datetime) -> None:
        self.zone, self.as_of = zone, as_of
        self._duck = duckdb.connect()
        for name, (columns, _) in EXPORTS.items():
            types = {column: "BIGINT" if kind == "instant" else kind for column, kind in columns.items()}
            self._duck.execute(
                f"CREATE TABLE {name} AS FROM read_csv($file, header = false, auto_detect = false, columns = {types},"
                " delim = ',', quote = '\"', escape = '\"', nullstr = '\\N', allow_quoted_nulls = false)",
                {"file": str(folder / f"{name}.csv")},
            )
        self._fill("words", ("keyword", "body"), [(k, word) for k, words in WORDS.items() for word in words])
        self._fill("order_words", ("word",), [(word,) for word in ORDER_WORDS])
        for statement in _TOLD:
            self._duck.execute(statement)
        phones = [phone for (phone,) in self.rows("SELECT DISTINCT phone FROM known")]
        self._fill("countries", ("phone", "country"), [(phone, find_region(phone)) for phone in phones])
        for statement in _FOLLOWING:
            self._duck.execute(statement)

    def close(self) -> None:
        self._duck.close()

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._duck.execute(query, list(parameters)).fetchall()

    def _fill(self, table: str, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
        self._duck.execute(f"CREATE TABLE {table} ({', '.join(f'{column} VARCHAR' for column in columns)})")
        found = list(rows)
        if found:
            places = ", ".join(f"({', '.join('?' * len(columns))})" for _ in found)
            self._duck.execute(
                f"INSERT INTO {table} VALUES {places}", [value for row in found for value in row]
            )

    # Messages

    def count(self, since: datetime, until: datetime, filters: Mapping[str, str]) -> Counts:
        where, values = self._scope(since, until, filters)
        by_status = dict(self.rows(f"SELECT status, count(*) FROM messages WHERE {where} GROUP BY 1", values))
        sums = self.rows(
            f"""
            SELECT count(*), count(*) FILTER (is_sent), count(*) FILTER (is_delivered), count(*) FILTER (is_failed), count(*) FILTER (is_conflict),
                   count(*) FILTER (is_delivered AND replied_at IS NOT NULL), count(*) FILTER (stopped_at IS NOT NULL),
                   count(*) FILTER (status = 'SENT' AND cohort_at < ?)
            FROM messages LEFT JOIN answered USING (sid) WHERE {where}
            """,
            [_micros(self.as_of - 3 * DAY), *values],
        )
        return Counts(by_status, *sums[0])

    def count_by(
        self,
        dimension: str,
        since: datetime,
        until: datetime,
        filters: Mapping[str, str],
        which: str = "true",
    ) -> dict[str, int]:
        where, values = self._scope(since, until, filters)
        return dict(
            self.rows(
                f"SELECT {dimension}, count(*) FROM messages WHERE {where} AND {which} GROUP BY 1", values
            )
        )

    def times(self, measure: str, since: datetime, until: datetime, filters: Mapping[str, str]) -> Times:
        where, values = self._scope(since, until, filters)
        found = self.rows(
            f"SELECT {measure} FROM messages WHERE {where} AND {measure} IS NOT NULL ORDER BY 1", values
        )
        return Times([micros / 1_000_000 for (micros,) in found])

    def sent_by_bin(
        self, bins: Sequence[datetime], since: datetime, until: datetime
    ) -> list[tuple[int, int]]:
        """Messages sent and delivered in each step of a series."""
        query = "SELECT cohort_at, is_sent::INTEGER, is_delivered::INTEGER FROM messages WHERE cohort_at >= ? AND cohort_at < ?"
        counted = [[0, 0] for _ in bins]
        for at, sent, delivered in self.rows(query, [_micros(since), _micros(until)]):
            found = counted[bisect_right(bins, _instant(at)) - 1]
            found[0], found[1] = found[0] + sent, found[1] + delivered
        return [(sent, delivered) for sent, delivered in counted]

    def retries(
        self, since: datetime, until: datetime, filters: Mapping[str, str]
    ) -> dict[int, tuple[int, int, int]]:
        where, values = self._scope(since, until, filters)
        query = f"SELECT postponed_code, count(*), count(*) FILTER (is_sent), count(*) FILTER (is_delivered) FROM messages WHERE {where} AND is_postponed GROUP BY 1"
        return {code: (tried, sent, delivered) for code, tried, sent, delivered in self.rows(query, values)}

    def _scope(self, since: datetime, until: datetime, filters: Mapping[str, str]) -> tuple[str, list[Any]]:
        conditions, values = ["cohort_at >= ? AND cohort_at < ?"], [_micros(since), _micros(until)]
        for name, value in filters.items():
            conditions.append(
                "campaign_id IN (SELECT id FROM campaigns WHERE template_id = ?)"
                if name == "template_id"
                else f"{name} = ?"
            )
            values.append(value)
        return " AND ".join(conditions), values

    # Campaigns

    def campaign(self, campaign_id: str) -> CampaignCounts:
        """Every message row of a campaign, also those that were never handed over."""
        mine, values = "campaign_id = ?", [campaign_id]
        reasons = f"SELECT skip_reason, count(*) FROM messages WHERE {mine} AND status = 'SKIPPED' GROUP BY 1"
        seconds = f"""
            SELECT (max(coalesce(skipped_at, cohort_at)) - min(started_at)) / 1e6 FROM messages JOIN campaigns c ON c.id = campaign_id
            WHERE {mine} AND finished_at IS NOT NULL
            """
        return CampaignCounts(
            dict(self.rows(f"SELECT status, count(*) FROM messages WHERE {mine} GROUP BY 1", values)),
            dict(self.rows(reasons, values)),
            self.rows(seconds, values)[0][0],
        )

    def effectiveness(self, by: str, since: datetime, until: datetime) -> dict[str, tuple[int, int]]:
        """Message rows and delivered ones of the campaigns made in a window, by campaign, segment or template."""
        query = f"""
            SELECT c.{"id" if by == "campaign" else f"{by}_id"}, count(*), count(*) FILTER (is_delivered)
            FROM campaigns c JOIN messages m ON m.campaign_id = c.id WHERE c.created_at >= ? AND c.created_at < ? GROUP BY 1
            """
        return {
            one: (rows, delivered)
            for one, rows, delivered in self.rows(query, [_micros(since), _micros(until)])
        }

    def opt_outs_by(
        self, dimension: str, since: datetime, until: datetime
    ) -> dict[str | None, tuple[int, int]]:
        """Messages of a window that were answered with STOP, and those sent, by `campaign_id` or `template_id`."""
        query = f"""
            SELECT {dimension}, count(*) FILTER (stopped_at IS NOT NULL), count(*) FILTER (is_sent)
            FROM messages LEFT JOIN answered USING (sid) LEFT JOIN campaigns c ON c.id = campaign_id
            WHERE cohort_at >= ? AND cohort_at < ? GROUP BY 1 HAVING count(*) FILTER (is_sent) > 0
            """
        return {
            one: (stopped, sent) for one, stopped, sent in self.rows(query, [_micros(since), _micros(until)])
        }

    def funnel(self, since: datetime, until: datetime) -> dict[str, tuple[Any, ...]]:
        """By consent state: users, their messages and answers, and how many were messaged, delivered, read, replied."""
        query = """
            WITH sent AS (
                SELECT phone, count(*) AS messages, bool_or(cohort_at IS NOT NULL) AS messaged, bool_or(is_delivered) AS delivered,
                       bool_or(status = 'READ') AS was_read, bool_or(is_delivered AND replied_at IS NOT NULL) AS replied
                FROM messages LEFT JOIN answered USING (sid) GROUP BY 1
            ), wrote AS (SELECT phone, count(*) AS answers FROM inbound GROUP BY 1)
            SELECT state, count(*), sum(coalesce(messages, 0)), sum(coalesce(answers, 0)), count(*) FILTER (messaged), count(*) FILTER (delivered),
                   count(*) FILTER (was_read), count(*) FILTER (replied)
            FROM users LEFT JOIN sent USING (phone) LEFT JOIN wrote USING (phone) WHERE created_at >= ? AND created_at < ? GROUP BY 1
            """
        return {state: tuple(counts) for state, *counts in self.rows(query, [_micros(since), _micros(until)])}

    # People and what they write

    def inbound(self, since: datetime, until: datetime, channel: str | None = None) -> Inbound:
        found = self._inbound(since, until, channel)
        local = [_instant(at).astimezone(self.zone) for at, *_ in found]
        by_day: dict[str, dict[str, int]] = {}
        for at, (_, _, intent, _, _) in zip(local, found, strict=True):
            day = by_day.setdefault(at.date().isoformat(), {})
            day[intent] = day.get(intent, 0) + 1
        return Inbound(
            by_intent=dict.fromkeys(INTENTS, 0) | _tally(intent for _, _, intent, _, _ in found),
            by_day=by_day,
            by_hour=_tally(at.hour for at in local),
            by_weekday_and_hour=_tally((at.weekday(), at.hour) for at in local),
            total=len(found),
            senders=len({phone for _, phone, *_ in found}),
            immediate=sum(is_immediate for *_, is_immediate, _ in found),
            auto_replied=sum(is_replied for *_, is_replied in found),
            unanswered_help=sum(intent == "help" and not is_replied for _, _, intent, _, is_replied in found),
        )

    def inbound_by_bin(
        self, bins: Sequence[datetime], since: datetime, until: datetime, channel: str | None
    ) -> list[dict[str, int]]:
        """Messages by intent in each step of a series."""
        counted = [dict.fromkeys(INTENTS, 0) for _ in bins]
        for at, _, intent, *_ in self._inbound(since, until, channel):
            counted[bisect_right(bins, _instant(at)) - 1][intent] += 1
        return counted

    def _inbound(self, since: datetime, until: datetime, channel: str | None) -> list[tuple[Any, ...]]:
        query = """
            SELECT seen_at, phone, intent, is_immediate, is_auto_replied FROM inbound
            WHERE seen_at >= $1 AND seen_at < $2 AND ($3::VARCHAR IS NULL OR channel = $3)
            """
        return self.rows(query, [_micros(since), _micros(until), channel])

    def users_by(self, attribute: str) -> dict[str | None, int]:
        """Users by a value, None: they do not have it."""
        query = "SELECT nullif(trim(attributes ->> $1), '') AS value, count(*) FROM users GROUP BY 1"
        return dict(self.rows(query, [f"$.{attribute}"]))

    def signups(self, since: datetime, until: datetime) -> int:
        query = "SELECT count(*) FROM users WHERE created_at >= ? AND created_at < ?"
        return int(self.rows(query, [_micros(since), _micros(until)])[0][0])

    def users(self) -> dict[str, int]:
        return dict(self.rows("SELECT state, count(*) FROM users GROUP BY 1"))

    def transitions(self, since: datetime, until: datetime, into: Sequence[str]) -> int:
        query = "SELECT count(*) FROM consent WHERE before <> after AND seen_at >= ? AND seen_at < ? AND list_contains(?, after)"
        return int(self.rows(query, [_micros(since), _micros(until), list(into)])[0][0])

    def opt_outs(self, until: datetime) -> tuple[int, int]:
        """Opt-outs of the local day in which the window ends, and of the day before."""
        today = (until - MICROSECOND).astimezone(self.zone).date()
        begins, began = self.day_begins(today), self.day_begins(today - DAY)
        closed = ("OPT_OUT", "STOP")
        return self.transitions(begins, until, closed), self.transitions(began, begins, closed)

    def users_at(self, instants: Sequence[datetime]) -> list[tuple[int, int]]:
        """Users there were at each of some instants, and how many of them were in OPT_IN."""
        people = self.rows("SELECT phone, created_at FROM users")
        said = self.rows("SELECT phone, seen_at, after FROM consent ORDER BY phone, number")
        found = []
        for at in map(_micros, instants):
            states = {phone: state for phone, said_at, state in said if said_at < at}
            there = [phone for phone, created_at in people if created_at < at]
            found.append((len(there), sum(states.get(phone) == "OPT_IN" for phone in there)))
        return found

    def day_begins(self, day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=self.zone).astimezone(UTC)

    def bins(self, since: datetime, until: datetime) -> list[datetime]:
        """The beginnings of a series' steps, counted from local midnight."""
        step, months = next((step, months) for longest, step, months in STEPS if until - since <= longest)
        local = since.astimezone(self.zone)
        day = local.date()
        at, bins = self.day_begins(day), []
        if months:
            number = day.year * 12 + day.month - 1
            while (at := self.day_begins(date(number // 12, number % 12 + 1, 1))) < until:
                bins.append(at)
                number += months
        elif step >= DAY:
            while (at := self.day_begins(day)) < until:
                bins.append(at)
                day += step
        else:
            while at < until:
                bins += [at] if at + step > since else []
                at += step
        return bins

    def running_campaigns(self) -> int:
        return int(self.rows("SELECT count(*) FROM campaigns WHERE state = 'running'")[0][0])


def wilson(numerator: int, denominator: int) -> tuple[float, float] | None:
    """The 95 % interval of a rate in percent (Wilson, 1927)."""
    if not denominator:
        return None
    z, n, share = NormalDist().inv_cdf(0.975), denominator, numerator / denominator
    middle, half = share + z * z / (2 * n), z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return 100 * (middle - half) / (1 + z * z / n), 100 * (middle + half) / (1 + z * z / n)


def find_region(phone: str) -> str | None:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(phone))
    except phonenumbers.NumberParseException:  # a calling code nobody has
        return None


def _tally(values: Iterable[Any]) -> dict[Any, int]:
    counted: dict[Any, int] = {}
    for value in values:
        counted[value] = counted.get(value, 0) + 1
    return counted


def _micros(at: datetime) -> int:
    return (at - EPOCH) // MICROSECOND


def _instant(micros: int) -> datetime:
    return EPOCH + micros * MICROSECOND
