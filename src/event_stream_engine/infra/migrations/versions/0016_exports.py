"""Exports: what was asked for, and the files until they expire."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0016_exports"
down_revision = "0015_subscriptions"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
