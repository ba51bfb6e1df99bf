"""Foundation: the tables from a signed webhook to a live figure."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0001_foundation"
down_revision = None


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
