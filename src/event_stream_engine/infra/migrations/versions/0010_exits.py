"""Counters that never fall, and keys that may only read them."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0010_exits"
down_revision = "0009_feed"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
