"""Stand-in until the content branch lands."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
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
    sid: str
    status: str


@dataclass(frozen=True, slots=True)
class Refused:
    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Postponed:
    code: int | None
    text: str
    pause_seconds: float | None


@dataclass(frozen=True, slots=True)
class Unknown:
    text: str


@dataclass(frozen=True, slots=True)
class ProviderMessage:
    sid: str
    status: str
    error_code: int | None
    recipient: str
    sender: str | None
    body: str | None
    created_at: datetime | None
    sent_at: datetime | None
    updated_at: datetime | None
