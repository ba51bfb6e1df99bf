"""Alerting: rules, their states, episodes and silences."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0012_alerting"
down_revision = "0011_notifications"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
