"""Capacity: the disk that PostgreSQL lives on."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0020_capacity"
down_revision = "0019_recommendations"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
