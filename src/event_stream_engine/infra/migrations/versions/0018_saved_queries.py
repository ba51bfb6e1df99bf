"""Saved queries: their texts and versions, the shipped ones, schedules with their runs, and numbers for alert rules."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0018_saved_queries"
down_revision = "0017_workbench"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
