"""Incidents: the policy, incidents with their timeline and alerts, and the timers of the escalation."""

from event_stream_engine.infra.migrations import plain_sql

revision = "0013_incidents"
down_revision = "0012_alerting"


def upgrade() -> None:
    plain_sql.run_beside(__file__)


def downgrade() -> None:
    plain_sql.refuse_downgrade()
