"""The database watched: what PostgreSQL counts, by minute, quarter-hour and day."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0008_postgres"
down_revision = "0007_resources"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
