"""Notifications: channels, routes, the outbox, and what the dead-man's switch goes by."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0011_notifications"
down_revision = "0010_exits"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
