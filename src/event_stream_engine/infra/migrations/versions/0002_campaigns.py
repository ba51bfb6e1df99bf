"""Audience, campaigns, compliance and the audit trail."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0002_campaigns"
down_revision = "0001_foundation"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
