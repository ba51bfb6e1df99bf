"""What is handed to the provider and what it answers: taken, refused for ever, not now, or nobody knows.

The outcome decides whether a message may be offered again, so each case is one type. `judge_refusal` reads an answer
that is none of success; `messaging/twilio.py` makes the calls.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from event_stream_engine.messaging.error_codes import describe_error_code

DEFAULT_PAUSE_SECONDS = 1.0  # too many requests, and the provider did not say for how long
UNREACHABLE_PAUSE_SECONDS = 2.0
ACCOUNT_PAUSE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 300.0
_SLOW_DOWN_CODES = frozenset((20429, 63018))
_NOT_NOW_CLASSES = frozenset(("transient", "capacity"))


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """One message. `sender` is an E.164 number or a messaging service's SID (MG…); a body or a ContentSid.

    Numbers are without the channel's prefix. Units: `validity_seconds` is how long it may wait in the provider's queue.
    """

    message_id: UUID
    channel: str
    recipient_phone: str
    sender: str
    body: str | None
    content_sid: str | None
    content_variables: dict[str, str] | None
    validity_seconds: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has it. No callback tells the first status."""

    sid: str
    status: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never take this message; it must not be offered again."""

    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Postponed:
    """The provider certainly has not got it; it may be offered again.

    `pause_seconds`: nobody is to call before that, whatever the message; None: only this message waits.
    """

    code: int | None
    text: str
    pause_seconds: float | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The provider may have it or not. It must be looked for before it is offered again."""

    text: str


Outcome = Accepted | Refused | Postponed | Unknown


@dataclass(frozen=True, slots=True)
class ProviderMessage:
    """A message as the provider's list has it. Addresses carry the channel's prefix, as sent.

    Units: the times have whole seconds.
    """

    sid: str
    status: str
    error_code: int | None
    recipient: str
    sender: str | None  # None until a messaging service has chosen one
    body: str | None
    created_at: datetime | None
    sent_at: datetime | None
    updated_at: datetime | None


def judge_refusal(
    http_status: int, code: int | None, text: str, retry_after_seconds: float | None
) -> Refused | Postponed | Unknown:
    """Say what an answer other than 2xx means for the message."""
    if http_status == 429 or code in _SLOW_DOWN_CODES:
        return Postponed(code, text, _limit_pause(retry_after_seconds, DEFAULT_PAUSE_SECONDS))
    if http_status >= 500 or http_status == 408:
        # Creation has no idempotency key: behind a gateway's error the message may have been made all the same.
        return Unknown(f"HTTP {http_status}")
    error_class = describe_error_code(code).error_class
    if error_class in _NOT_NOW_CLASSES:
        return Postponed(code, text, None)
    is_account = error_class == "account" or (
        error_class == "unknown" and (http_status < 400 or http_status in (401, 403, 404, 405))
    )
    if is_account:
        # Wrong credentials, a closed account, an address that is not the API's: no fault of any recipient's.
        return Postponed(code, text, ACCOUNT_PAUSE_SECONDS)
    return Refused(code, text)


def _limit_pause(asked_seconds: float | None, default_seconds: float) -> float:
    return default_seconds if asked_seconds is None else min(max(asked_seconds, 0.1), LONGEST_PAUSE_SECONDS)
