"""What the compliance page says of the evidence."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from event_stream_engine.analytics.compliance import Violation
from event_stream_engine.web.pages.compliance import describe_evidence

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BEFORE = (NOON - timedelta(minutes=1)).isoformat()
LATER = (NOON + timedelta(seconds=12)).isoformat()


@pytest.mark.parametrize(
    ("kind", "evidence", "text"),
    [
        (
            "consent",
            {"state": "STOP", "said_at": BEFORE, "known_at": LATER},
            "The ledger says STOP since 11:59:00, known 12 s after the hand-over",
        ),
        (
            "consent",
            {"state": "OPT_OUT", "said_at": "2026-02-01T09:00:00+00:00", "known_at": BEFORE},
            "The ledger says opted out since 1 Feb 09:00",
        ),
        ("consent", {"state": "UNKNOWN"}, "No entry of the ledger from before says opted in"),
        (
            "quiet_hours",
            {"zone": "Asia/Kolkata", "clock": "21:29:00", "starts": "21:00", "ends": "08:00"},
            "21:29:00 in Asia/Kolkata, quiet 21:00–08:00",
        ),
        ("zone_unknown", {"zone": "Mars/Base"}, "Mars/Base is not known here"),
        ("zone_unknown", {}, "No zone is known for the number"),
        ("rate", {"handed_over": 1200, "limit": 1000}, "1,200 in one second, the limit is 1,000"),
        ("decision_missing", {}, "The log has the outcome, the audit trail no decision"),
        (
            "event_missing",
            {"audit_id": 7, "event": "message.accepted"},
            "Decision 7 has no message.accepted in the log",
        ),
    ],
)
def test_evidence_is_said_in_a_few_words(kind: str, evidence: dict[str, Any], text: str) -> None:
    nobody = UUID(int=0)
    violation = Violation(nobody, kind, NOON, nobody, None, nobody, None, evidence, NOON)
    assert describe_evidence(violation, ZoneInfo("UTC")) == text
