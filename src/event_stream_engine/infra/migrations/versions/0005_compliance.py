"""Compliance, checked anew from raw rows."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0005_compliance"
down_revision = "0004_people"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
