"""The story of one message."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0009_feed"
down_revision = "0008_postgres"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
