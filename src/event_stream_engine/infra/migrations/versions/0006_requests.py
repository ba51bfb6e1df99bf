"""Requests measured, and the pipeline of webhooks with its stages."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0006_requests"
down_revision = "0005_compliance"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
