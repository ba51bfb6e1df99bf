"""Figures of any period from roll-ups by day and month, with all dimensions that pages filter by."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0003_figures"
down_revision = "0002_campaigns"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
