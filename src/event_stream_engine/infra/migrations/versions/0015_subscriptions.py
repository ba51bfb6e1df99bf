"""Subscriptions of reports; the HTML of a notice for mail."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0015_subscriptions"
down_revision = "0014_reports"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
