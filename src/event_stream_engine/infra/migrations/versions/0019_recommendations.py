"""Recommendations and their looks; numbers that cannot be reached."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0019_recommendations"
down_revision = "0018_saved_queries"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
