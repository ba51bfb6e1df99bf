"""The simulated provider's account: which messages it takes, which it refuses and why, and what became of them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from random import Random
from typing import Any

import phonenumbers

from event_stream_engine.kernel.clock import Clock, parse_instant
from event_stream_engine.kernel.phone import is_e164, split_channel
from event_stream_engine.messaging.encoding import count_segments
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.messaging.simulated_behaviour import (
    Behaviour,
    Course,
    Step,
    draw_course,
    draw_failure,
)
from event_stream_engine.messaging.simulated_callbacks import API_VERSION, Envelope
from event_stream_engine.messaging.webhooks import Form

# Numbers the provider reserves for trying out refusals.
REFUSED_RECIPIENTS = {
    "+15005550001": 21211,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
STOP_WORDS = frozenset(("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT"))
START_WORDS = frozenset(("START", "YES", "UNSTOP"))
BODY_LIMIT = 1600
KEPT_MESSAGE_COUNT = 100_000
WHATSAPP_WINDOW = timedelta(hours=24)
PRICE_USD = 0.0079


class Refusal(Exception):
    """The API's answer to a request it does not carry out."""

    def __init__(self, status: int, code: int, message: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after_seconds = retry_after_seconds


@dataclass(slots=True)
class SimulatedMessage:
    sid: str
    account_sid: str
    sender: str | None  # None until a messaging service has chosen one
    recipient: str
    body: str
    media_count: int
    messaging_service_sid: str | None
    status: str
    created_at: datetime
    updated_at: datetime
    send_at: datetime | None = None
    sent_at: datetime | None = None
    error_code: int | None = None

    def reach(self, step: Step, sender: str, at: datetime) -> None:
        """Move to the status of a step."""
        self.status, self.error_code, self.updated_at, self.sender = step.status, step.error_code, at, sender
        if step.status == "sent":
            self.sent_at = at

    def as_resource(self) -> dict[str, Any]:
        """Return the message resource. Source: twilio.com/docs/messaging/api/message-resource."""
        uri = f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{self.sid}"
        segment_count = count_segments(self.body) if self.sender else 0
        return {
            "account_sid": self.account_sid,
            "api_version": API_VERSION,
            "body": self.body,
            "date_created": _format_rfc2822(self.created_at),
            "date_sent": _format_rfc2822(self.sent_at) if self.sent_at else None,
            "date_updated": _format_rfc2822(self.updated_at),
            "direction": "outbound-api",
            "error_code": self.error_code,
            "error_message": describe_error_code(self.error_code).description if self.error_code else None,
            "from": self.sender,
            "messaging_service_sid": self.messaging_service_sid,
            "num_media": str(self.media_count),
            "num_segments": str(segment_count),
            "price": f"-{PRICE_USD * segment_count:.5f}" if self.sent_at else None,
            "price_unit": "USD" if self.sender else None,
            "sid": self.sid,
            "status": self.status,
            "subresource_uris": {"media": f"{uri}/Media.json"},
            "to": self.recipient,
            "uri": f"{uri}.json",
        }


class SimulatedAccount:
    """Takes messages as forms and keeps the last 100,000 of them."""

    def __init__(self, behaviour: Behaviour, account_sid: str, clock: Clock) -> None:
        self.account_sid = account_sid
        self._behaviour = behaviour
        self._clock = clock
        self._messages: dict[str, SimulatedMessage] = {}
        self._messages_to: dict[str, dict[str, SimulatedMessage]] = {}  # the same by recipient
        self._taken_count = 0
        self._opted_out: set[str] = set()
        self._inbound_at: dict[str, datetime] = {}

    def take_message(self, form: Form) -> tuple[SimulatedMessage, Envelope, Course, str]:
        """Take a message and draw what will happen to it; the n-th message of a seed always fares the same.

        Shape: the message, its envelope, its course, and the SID a reply to it will have.
        Errors: Refusal as the provider refuses.
        """
        recipient, sender, service = _get(form, "To"), _get(form, "From"), _get(form, "MessagingServiceSid")
        body, content_sid, media = _get(form, "Body"), _get(form, "ContentSid"), form.get("MediaUrl", [])
        media_count = 1 if isinstance(media, str) else len(media)
        if not recipient:
            raise Refusal(400, 21604, "A 'To' phone number is required.")
        if not (sender or service):
            raise Refusal(400, 21603, "A 'From' phone number is required.")
        if not (body or content_sid or media_count):
            raise Refusal(400, 21602, "Message body is required.")
        if len(body) > BODY_LIMIT:
            raise Refusal(400, 21617, "The concatenated message body exceeds the 1600 character limit.")
        if content_sid:
            _check_variables(_get(form, "ContentVariables"))
        send_at = _read_send_at(_get(form, "SendAt"), service) if _get(form, "ScheduleType") else None
        channel, number = split_channel(recipient)
        _check_recipient(channel, number, recipient)
        chosen = sender or ("whatsapp:" if channel == "whatsapp" else "") + self._behaviour.senders[0]
        self._check_sender(chosen, channel)
        if recipient in self._opted_out or REFUSED_RECIPIENTS.get(number) == 21610:
            raise Refusal(400, 21610, "Attempt to send to unsubscribed recipient")

        now = self._clock.now()
        rng = Random(f"{self._behaviour.seed}:{self._taken_count}")  # noqa: S311
        self._taken_count += 1
        if channel == "whatsapp" and not content_sid and not self._is_window_open(recipient, now):
            course = draw_failure(rng, self._behaviour, 63016)
        else:
            course = draw_course(rng, self._behaviour, channel)
        # The outcome follows from the seed alone; the SIDs also from the time, so that a restart repeats none.
        unique = Random(f"{self._behaviour.seed}:{self._taken_count}:{now}")  # noqa: S311
        sid = f"{'MM' if media_count else 'SM'}{unique.getrandbits(128):032x}"
        reply_sid = f"SM{unique.getrandbits(128):032x}"
        message = SimulatedMessage(
            sid=sid,
            account_sid=self.account_sid,
            sender=sender or None,
            recipient=recipient,
            body=body,
            media_count=media_count,
            messaging_service_sid=service or None,
            status="scheduled" if send_at else ("accepted" if service else "queued"),
            created_at=now,
            updated_at=now,
            send_at=send_at,
        )
        self._keep(message)
        envelope = Envelope(self.account_sid, message.sid, chosen, recipient, message.messaging_service_sid)
        return message, envelope, course, reply_sid

    def take_reply(self, address: str, body: str) -> None:
        """Note what a person wrote: it opens the WhatsApp window, and STOP and START words close and open the number."""
        self._inbound_at[address] = self._clock.now()
        word = body.strip().upper()
        if word in STOP_WORDS:
            self._opted_out.add(address)
        elif word in START_WORDS:
            self._opted_out.discard(address)

    def load_message(self, sid: str) -> SimulatedMessage:
        """Return a message. Errors: Refusal when there is none."""
        if sid not in self._messages:
            path = f"/{API_VERSION}/Accounts/{self.account_sid}/Messages/{sid}.json"
            raise Refusal(404, 20404, f"The requested resource {path} was not found")
        return self._messages[sid]

    def list_messages(
        self, recipient: str | None, is_wanted: Callable[[SimulatedMessage], bool]
    ) -> Iterator[SimulatedMessage]:
        """Return the wanted messages to a recipient or to all, newest first."""
        kept = self._messages if recipient is None else self._messages_to.get(recipient, {})
        return (message for message in reversed(kept.values()) if is_wanted(message))

    def _keep(self, message: SimulatedMessage) -> None:
        self._messages[message.sid] = message
        self._messages_to.setdefault(message.recipient, {})[message.sid] = message
        if len(self._messages) > KEPT_MESSAGE_COUNT:
            oldest = self._messages.pop(next(iter(self._messages)))
            left = self._messages_to[oldest.recipient]
            del left[oldest.sid]
            if not left:
                del self._messages_to[oldest.recipient]

    def _is_window_open(self, address: str, now: datetime) -> bool:
        inbound_at = self._inbound_at.get(address)
        return inbound_at is not None and now - inbound_at < WHATSAPP_WINDOW

    def _check_sender(self, sender: str, channel: str) -> None:
        sender_channel, number = split_channel(sender)
        if sender_channel != channel:
            pair = "'From' and 'To' should be of the same channel"
            raise Refusal(400, 21910, f"Invalid 'From' and 'To' pair. {pair}")
        if number not in self._behaviour.senders:
            text = f"The 'From' phone number {sender} is not a valid, message-capable number for this destination"
            raise Refusal(400, 21606, text)


def _check_recipient(channel: str, number: str, address: str) -> None:
    code = REFUSED_RECIPIENTS.get(number)
    if channel not in ("sms", "whatsapp") or code == 21211 or not (code or _is_number(number)):
        raise Refusal(400, 21211, f"Invalid 'To' Phone Number: {address}")
    if code == 21408:
        raise Refusal(
            400, 21408, f"Permission to send an SMS has not been enabled for the region of {number}."
        )
    if code == 21614:
        raise Refusal(400, 21614, f"To number: {number}, is not a mobile number")


@lru_cache(maxsize=65_536)  # a campaign's people are written to again and again, and the library takes 40 µs
def _is_number(number: str) -> bool:
    return is_e164(number) and phonenumbers.is_valid_number(phonenumbers.parse(number))


def _check_variables(text: str) -> None:
    try:
        is_object = not text or isinstance(json.loads(text), dict)
    except ValueError:
        is_object = False
    if not is_object:
        raise Refusal(400, 21656, "The ContentVariables Parameter is invalid.")


def _read_send_at(text: str, service: str) -> datetime:
    if not service:
        raise Refusal(400, 35118, "MessagingServiceSid is required to schedule a message")
    try:
        return parse_instant(text)
    except ValueError:
        raise Refusal(400, 35114, "SendAt is not an ISO 8601 instant like 2026-03-02T09:00:00Z") from None


def _format_rfc2822(at: datetime) -> str:
    return format_datetime(at.replace(microsecond=0)).replace("-0000", "+0000")


def _get(form: Form, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else value[-1]
