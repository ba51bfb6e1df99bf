"""Indexes: which are used, and which are of no use: never read, the same as another, covered by another, not valid."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries

SQL = load_queries(__package__)
USES_OVER = timedelta(days=30)
LEAST_EVIDENCE = timedelta(days=7)  # a weekly report's index is used once a week


@dataclass(frozen=True, slots=True)
class Index:
    """An index now, `bytes` as of the last look, `definition` None while its table is being changed. `is_plain`: over columns alone, all rows, nothing carried along. `scans` as PostgreSQL counts them since its statistics began, `scans_kept` of the last 30 days."""

    relation: str
    table_name: str
    definition: str | None
    method: str
    keys: list[int]
    key_count: int
    classes: list[int]
    collations: list[int]
    options: list[int]
    is_plain: bool
    is_unique: bool
    is_constraint: bool
    is_valid: bool
    is_partitioned: bool
    is_replica_identity: bool
    is_being_built: bool
    bytes: int | None
    scans: int
    scans_kept: int

    @property
    def is_needed(self) -> bool:
        """Tell whether it holds a rule of the data, whoever reads it."""
        return self.is_unique or self.is_constraint or self.is_replica_identity


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an index is of no use. `kind`: invalid, duplicate, covered, unused; `command` acts on it."""

    kind: str
    index: Index
    evidence: str
    command: str


async def list_indexes(conn: Connection, now: datetime) -> list[Index]:
    """Return all indexes, the largest first."""
    return await SQL.list_index_states.many(conn, Index, {"since": now - USES_OVER})


def judge_indexes(indexes: list[Index], observed: timedelta) -> list[Verdict]:
    """Return what can go or has to be mended, each index once; `observed`: for how long uses are counted."""
    verdicts = []
    for index in indexes:
        if index.is_being_built:
            continue
        verdict = (
            _judge_validity(index)
            or _judge_twins(index, indexes)
            or _judge_cover(index, indexes)
            or _judge_use(index, observed)
        )
        if verdict is not None:
            verdicts.append(verdict)
    return verdicts


def _judge_validity(index: Index) -> Verdict | None:
    if index.is_valid:
        return None
    if index.is_partitioned:
        text = "Not valid: a partition has no index of its own for it, or one that is not valid."
        return Verdict("invalid", index, text, f"REINDEX INDEX {index.relation};")
    text = "Not valid: building it was broken off. Every write keeps it, no query uses it."
    return Verdict("invalid", index, text, f"REINDEX INDEX CONCURRENTLY {index.relation};")


def _judge_twins(index: Index, indexes: list[Index]) -> Verdict | None:
    """Find an index that is the same and has more reason to stay."""
    twins = [other for other in indexes if other.is_valid and _signature(other) == _signature(index)]
    best = max(twins, key=_reason_to_stay)
    if best is index or index.is_constraint:
        return None
    text = f"The same columns in the same order as {best.relation}."
    return Verdict("duplicate", index, text, _drop(index))


def _judge_cover(index: Index, indexes: list[Index]) -> Verdict | None:
    if index.is_needed or not _is_plain_tree(index):
        return None
    for other in indexes:
        is_longer = other.key_count > index.key_count and other.table_name == index.table_name
        if is_longer and other.is_valid and _is_plain_tree(other) and _begins_like(other, index):
            text = f"{other.relation} begins with the same columns, so it answers the same queries; it is larger."
            return Verdict("covered", index, text, _drop(index))
    return None


def _judge_use(index: Index, observed: timedelta) -> Verdict | None:
    if index.is_needed or index.scans or index.scans_kept or observed < LEAST_EVIDENCE:
        return None
    text = f"Not used once in {min(observed, USES_OVER).days} days. On a replica it may be: that is counted there."
    return Verdict("unused", index, text, _drop(index))


def _signature(index: Index) -> tuple[str, str]:
    """Return all that PostgreSQL says of an index but its name and whether it is unique; without a definition its own name."""
    return index.table_name, (index.definition or index.relation).split(" USING ", 1)[-1]


def _reason_to_stay(index: Index) -> tuple[bool, bool, bool, int, str]:
    return index.is_constraint, index.is_unique, index.is_replica_identity, index.scans, index.relation


def _is_plain_tree(index: Index) -> bool:
    return index.method == "btree" and index.is_plain


def _begins_like(longer: Index, shorter: Index) -> bool:
    pairs = (
        (longer.keys, shorter.keys),
        (longer.classes, shorter.classes),
        (longer.collations, shorter.collations),
        (longer.options, shorter.options),
    )
    return all(long[: shorter.key_count] == short for long, short in pairs)


def _drop(index: Index) -> str:
    # An index of a partitioned table cannot be dropped without the lock.
    return f"DROP INDEX {'' if index.is_partitioned else 'CONCURRENTLY '}{index.relation};"
