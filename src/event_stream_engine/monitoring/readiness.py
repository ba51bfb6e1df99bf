"""May this web process take traffic: the database answers, is migrated, and there is room on the disk."""

from dataclasses import dataclass

import psycopg
from psycopg_pool import PoolTimeout

from event_stream_engine.infra.database import Pool
from event_stream_engine.infra.migrating import is_migrated
from event_stream_engine.ingest.intake import Spooled
from event_stream_engine.monitoring.parts import FULL_SHARE, spool_share


@dataclass(frozen=True, slots=True)
class Check:
    """One condition. `is_met` is None when it cannot be known; the `reason` tells nobody what he must not know."""

    name: str
    is_met: bool | None
    reason: str | None = None


async def check_readiness(pool: Pool, spooled: Spooled) -> list[Check]:
    """Return every condition, those that are met too."""
    share = spool_share(spooled.used_bytes if spooled.events else 0, spooled.limit_bytes)
    full = Check("spool", False, f"spool full: {100 * share:.0f} % of ESE_SPOOL_LIMIT_MB is used")
    spool = Check("spool", True) if share < FULL_SHARE else full
    try:
        async with pool.connection() as conn:
            migrated = await is_migrated(conn)
    except (psycopg.OperationalError, PoolTimeout):
        unknown = Check("migrations", None, "unknown while the database is away")
        return [Check("database", False, "database away"), unknown, spool]
    pending = Check("migrations", False, "migrations pending: run `ese migrate`")
    return [Check("database", True), Check("migrations", True) if migrated else pending, spool]
