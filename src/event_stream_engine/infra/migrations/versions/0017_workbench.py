"""Workbench: the views that people's own SQL reads."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0017_workbench"
down_revision = "0016_exports"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
