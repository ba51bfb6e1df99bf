"""Which of the provider's messages is the one whose call ended without an answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from event_stream_engine.campaigns.reconciliation import Unsure, find_match
from event_stream_engine.messaging.provider import ProviderMessage

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
PHONE, SENDER = "+14155550123", "+14155238886"
UNSURE = Unsure(
    message_id=UUID(int=1),
    campaign_id=None,
    recipient_phone=PHONE,
    channel="sms",
    sender=SENDER,
    body="It’s ready – come by…",
    handed_at=AT,
    unsure_since=AT + timedelta(seconds=10),
    provider_sid=None,
    is_template=False,
)
LISTED = ProviderMessage(
    sid="SM1",
    status="sent",
    error_code=None,
    recipient=PHONE,
    sender=SENDER,
    body=UNSURE.body,
    created_at=AT,
    sent_at=AT,
    updated_at=AT,
)


def test_the_same_words_to_the_same_person_at_that_time_are_the_message() -> None:
    assert find_match(UNSURE, [LISTED], set()) == LISTED


@pytest.mark.parametrize(
    "body", ["It's ready - come by...", "Sent from your Twilio trial account - It’s ready – come by…"]
)
def test_a_text_the_provider_has_touched_is_still_the_message(body: str) -> None:
    assert find_match(UNSURE, [replace(LISTED, body=body)], set()) is not None


@pytest.mark.parametrize(
    "other",
    [
        {"body": "It’s ready"},
        {"body": None},
        {"recipient": "+14155550124"},
        {"recipient": f"whatsapp:{PHONE}"},
        {"sender": "+14155238887"},
        {"created_at": AT - timedelta(minutes=2)},
        {"created_at": AT + timedelta(minutes=2)},
        {"created_at": None},
    ],
)
def test_another_message_is_not_taken_for_it(other: dict[str, Any]) -> None:
    assert find_match(UNSURE, [replace(LISTED, **other)], set()) is None


def test_one_that_belongs_to_a_message_already_is_not_taken_again_and_the_oldest_goes_first() -> None:
    later = replace(LISTED, sid="SM0", created_at=AT + timedelta(seconds=1))
    assert find_match(UNSURE, [later, LISTED], set()) == LISTED
    assert find_match(UNSURE, [later, LISTED], {"SM1"}) == later


def test_a_service_chooses_the_sender_itself() -> None:
    service = replace(UNSURE, sender="MG" + "1" * 32)
    assert find_match(service, [replace(LISTED, sender=None)], set()) is not None
