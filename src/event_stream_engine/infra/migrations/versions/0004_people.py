"""Figures of people and of what they write: by day and month, by hour of the week, by attribute, unique senders."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0004_people"
down_revision = "0003_figures"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
