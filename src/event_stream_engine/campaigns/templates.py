"""Templates: what a campaign says, with placeholders for what differs from person to person."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.campaigns.prohibited import find_prohibited, list_words
from event_stream_engine.campaigns.rendering import (
    Content,
    Size,
    Unsendable,
    list_placeholders,
    measure_text,
    parse_template,
    render_content,
)
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound

SQL = load_queries(__package__)
CHANNELS = ("sms", "whatsapp")
LONGEST_TEMPLATE = 4000  # as written: a placeholder may be longer than its value
_LOCALE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*\Z")
_CONTENT_SID = re.compile(r"HX[0-9a-fA-F]{32}\Z")


@dataclass(frozen=True, slots=True)
class TemplateDraft:
    """What a person decides about a template. `content_variables`: number of the variable → text."""

    name: str
    channel: str
    locale: str
    body: str
    content_sid: str | None
    content_variables: Mapping[str, str]

    @property
    def content(self) -> Content:
        return Content(self.body, self.content_sid, self.content_variables)


@dataclass(frozen=True, slots=True)
class Template:
    id: UUID
    name: str
    channel: str
    locale: str
    body: str
    content_sid: str | None
    content_variables: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None

    @property
    def draft(self) -> TemplateDraft:
        return TemplateDraft(
            self.name, self.channel, self.locale, self.body, self.content_sid, self.content_variables
        )


@dataclass(frozen=True, slots=True)
class Preview:
    """A template as one person would get it. Without `text` nothing would be sent, for `reason` and `detail`."""

    text: str | None
    variables: Mapping[str, str] | None
    reason: str | None
    detail: str | None
    missing: list[str]
    prohibited: str | None
    size: Size


async def create_template(conn: Connection, actor: Actor, now: datetime, draft: TemplateDraft) -> Template:
    """Make a template. Errors: Invalid naming the field, Conflict when the name is taken."""
    draft = check_draft(draft)
    template_id = uuid4()
    if not await SQL.create_template.execute(conn, _as_parameters(template_id, now, draft)):
        raise _name_taken(draft.name)
    await record(
        conn, actor, Entry(now, "template.created", f"template:{template_id}", after=_describe(draft))
    )
    return await load_template(conn, template_id)


async def change_template(
    conn: Connection, actor: Actor, now: datetime, template_id: UUID, draft: TemplateDraft
) -> Template:
    """Put a template's new content in place of the old; campaigns that have started keep theirs.

    Errors: Invalid, NotFound, Conflict.
    """
    before = await _lock_usable(conn, template_id)
    draft = check_draft(draft)
    if await SQL.is_template_name_taken.value(conn, {"id": template_id, "name": draft.name}):
        raise _name_taken(draft.name)
    await SQL.change_template.execute(conn, _as_parameters(template_id, now, draft))
    entry = Entry(
        now, "template.changed", f"template:{template_id}", _describe(before.draft), _describe(draft)
    )
    await record(conn, actor, entry)
    return await load_template(conn, template_id)


async def archive_template(conn: Connection, actor: Actor, now: datetime, template_id: UUID) -> Template:
    """Take a template out of use; what was sent with it keeps its name. Errors: NotFound, Conflict."""
    before = await _lock_usable(conn, template_id)
    await SQL.archive_template.execute(conn, {"id": template_id, "now": now})
    entry = Entry(now, "template.archived", f"template:{template_id}", before={"name": before.name})
    await record(conn, actor, entry)
    return await load_template(conn, template_id)


async def load_template(conn: Connection, template_id: UUID) -> Template:
    """Return one template. Errors: NotFound."""
    found = await SQL.find_template.maybe(conn, Template, {"id": template_id})
    if found is None:
        raise NotFound("There is no such template.")
    return found


async def list_templates(
    conn: Connection, *, limit: int, after: tuple[str, UUID] | None = None, is_archived: bool = False
) -> list[Template]:
    """Return templates by name, from behind a place (name, id) on."""
    name, template_id = after or (None, None)
    parameters = {"limit": limit, "name": name, "id": template_id, "is_archived": is_archived}
    return await SQL.list_templates.many(conn, Template, parameters)


async def preview(
    conn: Connection, draft: TemplateDraft, phone: str | None, shown_as: str | None = None
) -> Preview:
    """Return a template as a person would get it; without a person each placeholder keeps its braces.

    `shown_as` stands in the text where the number would.

    Errors: Invalid, NotFound.
    """
    content = check_draft(draft).content
    placeholders = list_placeholders(content)
    if phone is None:
        attributes: Mapping[str, Any] = {one.name: one.default or f"{{{one.name}}}" for one in placeholders}
        phone = str(attributes.get("phone", ""))
    else:
        attributes = await SQL.find_attributes.value(conn, {"phone": phone})
        if attributes is None:
            raise NotFound("Nobody has this number.")
    try:
        rendered = render_content(content, shown_as or phone, attributes)
    except Unsendable as error:
        is_missing = error.reason == "placeholder_missing"
        missing = error.detail.removeprefix("no value for ").split(", ") if is_missing else []
        return Preview(None, None, error.reason, error.detail, missing, None, _measure(content, content.body))
    texts = (rendered.body, *(rendered.variables or {}).values())
    words = await list_words(conn)
    prohibited = next((word for text in texts if (word := find_prohibited(text, words))), None)
    return Preview(
        rendered.body,
        rendered.variables,
        None if prohibited is None else "prohibited_word",
        None if prohibited is None else f"the list of prohibited words has {prohibited!r}",
        [],
        prohibited,
        _measure(content, rendered.body),
    )


def check_draft(draft: TemplateDraft) -> TemplateDraft:
    """Return the draft without spaces around. Errors: Invalid naming the field."""
    name, sid = draft.name.strip(), (draft.content_sid or "").strip() or None
    if not 1 <= len(name) <= 200:
        raise Invalid("A name of 1 to 200 characters is needed.", "name")
    if draft.channel not in CHANNELS:
        raise Invalid(f"{draft.channel!r} is no channel; use {' or '.join(CHANNELS)}.", "channel")
    if not _LOCALE.match(draft.locale):
        raise Invalid(f"{draft.locale!r} is no language; write it like en or pt-BR.", "locale")
    if not draft.body.strip() or "\0" in draft.body:
        raise Invalid("The template says nothing. Write what people are to read.", "body")
    if len(draft.body) > LONGEST_TEMPLATE:
        raise Invalid(f"A template has at most {LONGEST_TEMPLATE} characters.", "body")
    parse_template(draft.body)
    if sid is not None and (draft.channel != "whatsapp" or not _CONTENT_SID.match(sid)):
        raise Invalid("A content SID is HX and 32 hexadecimal digits, of a WhatsApp template.", "content_sid")
    if draft.content_variables and sid is None:
        raise Invalid("Variables belong to a content SID. Name it, or leave them out.", "content_variables")
    for number, text in draft.content_variables.items():
        if not (number.isascii() and number.isdigit() and len(number) <= 2) or not text.strip():
            raise Invalid(
                'Variables are numbers with a text each, like {"1": "{first_name|friend}"}.',
                "content_variables",
            )
        try:
            parse_template(text)
        except Invalid as error:
            raise Invalid(f"Variable {number}: {error}", "content_variables") from None
    return TemplateDraft(name, draft.channel, draft.locale, draft.body, sid, dict(draft.content_variables))


def _measure(content: Content, text: str) -> Size:
    return measure_text(text, is_approved=content.content_sid is not None)


async def _lock_usable(conn: Connection, template_id: UUID) -> Template:
    found = await SQL.lock_template.maybe(conn, Template, {"id": template_id})
    if found is None:
        raise NotFound("There is no such template.")
    if found.archived_at is not None:
        raise Conflict(f"Template {found.name} is archived. Make a new one.")
    return found


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is a template named {name} already. Choose another name.")


def _as_parameters(template_id: UUID, now: datetime, draft: TemplateDraft) -> dict[str, Any]:
    described = _describe(draft)
    variables = orjson.dumps(described["content_variables"]).decode()
    return described | {"id": template_id, "now": now, "content_variables": variables}


def _describe(draft: TemplateDraft) -> dict[str, Any]:
    return {
        "name": draft.name,
        "channel": draft.channel,
        "locale": draft.locale,
        "body": draft.body,
        "content_sid": draft.content_sid,
        "content_variables": dict(draft.content_variables),
    }
