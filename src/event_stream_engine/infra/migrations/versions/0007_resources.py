"""What processes tell of themselves: loops, resources, health; uptime kept for good."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0007_resources"
down_revision = "0006_requests"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
