"""Reports of days and weeks, each version as it was known at its cut-off."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0014_reports"
down_revision = "0013_incidents"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
