"""The story of a message as API and page tell it: numbers masked, unless somebody who may see them asks."""

import re
from typing import Any

from starlette.requests import Request

from event_stream_engine.access.roles import Principal, Role, require
from event_stream_engine.audience import people
from event_stream_engine.audience.references import make_reference
from event_stream_engine.infra.database import Connection, snapshot, transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.monitoring.stories import Story, StoryMessage, load_story
from event_stream_engine.web.auth import actor_of
from event_stream_engine.web.resources import resources_of

_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")


async def tell_story(request: Request, name: str, *, reveal: bool) -> dict[str, Any]:
    """Return the story of a message; who asks for full numbers is put on record first. Errors: NotFound; Denied."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        if reveal:
            principal: Principal = request.state.principal
            require(principal.role, Role.operator)
        async with snapshot(conn):
            story = await load_story(conn, name)
        if reveal:
            await _record_reveal(request, conn, story.message.recipient_phone)
    return describe_story(story, resources.settings.secret_key, is_shown=reveal)


def describe_story(story: Story, secret_key: str, *, is_shown: bool) -> dict[str, Any]:
    message = story.message
    events = [
        {
            "at": format_instant(entry.at),
            "what": entry.what,
            "seconds_since_previous": entry.seconds_since,
            **entry.detail,
        }
        for entry in story.entries
    ]
    return {
        "message": _describe_message(message, secret_key, is_shown=is_shown),
        "events": events if is_shown else hide_numbers(events, message),
        "is_cut": story.is_cut,
    }


def hide_numbers(value: Any, message: StoryMessage) -> Any:
    """Mask every number within a JSON value but that of our own sender, and the recipient's also where no `+` marks it."""
    match value:
        case dict():
            return {key: hide_numbers(part, message) for key, part in value.items()}
        case list():
            return [hide_numbers(part, message) for part in value]
        case str():
            text = _NUMBER.sub(
                lambda found: found[0] if found[0] == message.sender else mask_phone(found[0]), value
            )
            return text.replace(message.recipient_phone[1:], mask_phone(message.recipient_phone))
    return value


def _describe_message(message: StoryMessage, secret_key: str, *, is_shown: bool) -> dict[str, Any]:
    phone, code = message.recipient_phone, message.error_code
    return {
        "id": str(message.id),
        "provider_sid": message.provider_sid,
        "campaign_id": None if message.campaign_id is None else str(message.campaign_id),
        "campaign_name": message.campaign_name,
        "recipient": phone if is_shown else mask_phone(phone),
        "person": make_reference(secret_key, phone),
        "country": message.country,
        "channel": message.channel,
        "sender": message.sender,
        "status": message.status,
        "error_code": code,
        "description": None if code is None else describe_error_code(code).description,
        "skip_reason": message.skip_reason,
        "in_reply_to": message.in_reply_to,
        "delivery_time_seconds": message.delivery_seconds,
        "due_at": None if message.due_at is None else format_instant(message.due_at),
        "defer_reason": message.defer_reason,
        "attempts": message.attempts,
    }


async def _record_reveal(request: Request, conn: Connection, phone: str) -> None:
    resources = resources_of(request)
    async with transaction(conn):
        await people.record_reveal(
            conn, actor_of(request), resources.settings.secret_key, resources.clock.now(), [phone]
        )
