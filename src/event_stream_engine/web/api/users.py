"""The people: list, search, make, change, consent, erase. A person's id stands for the number, which is masked."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.roles import Principal, Role, require
from event_stream_engine.audience import consent, people
from event_stream_engine.audience.consent import LedgerEntry
from event_stream_engine.audience.people import ConsentGiven, Person, Wanted
from event_stream_engine.audience.references import make_reference, read_reference
from event_stream_engine.campaigns import erasure
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.clock import format_instant
from event_stream_engine.kernel.errors import Denied, Invalid, NotFound
from event_stream_engine.kernel.phone import is_e164, mask_phone
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/users", tags=["audience"])
_MAY_WRITE = [Depends(require_role(Role.operator))]
_REVEAL = Query(description="show numbers in full; for operators, and recorded in the audit trail")


class ConsentBody(BaseModel):
    """`proved`: the evidence proves the consent, so that it also re-opens what was closed."""

    model_config = ConfigDict(extra="forbid")

    state: str
    evidence: str
    proved: bool = False


class NewUserBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    phone_e164: str
    attributes: dict[str, Any] = {}
    timezone: str | None = None
    consent: ConsentBody | None = None


class UserBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    attributes: dict[str, Any] = {}
    timezone: str | None = None


@router.get("")
async def list_users(
    request: Request,
    *,
    consent: str | None = None,
    country: str | None = None,
    search: Annotated[
        str | None,
        Query(max_length=100, description="part of the number, or of an attribute's name or value"),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: str | None = None,
    reveal: Annotated[bool, _REVEAL] = False,
) -> dict[str, Any]:
    """People in a fixed order, narrowed by consent, country or a search."""
    resources = resources_of(request)
    key = resources.settings.secret_key
    wanted = read_search(request, consent, country, search)
    after = read_reference(key, cursor) if cursor else None
    if cursor and after is None:
        raise Invalid("This cursor is none of ours. Begin again without it.", "cursor")
    async with resources.pool.connection() as conn:
        found = await people.list_people(conn, wanted, limit + 1, after)
        shown = found[:limit]
        if reveal:
            await _record_reveal(request, conn, shown)
    return {
        "items": [describe_person(person, key, is_shown=reveal) for person in shown],
        "next_cursor": make_reference(key, shown[-1].phone_e164) if len(found) > limit else None,
    }


@router.post("", status_code=201, dependencies=_MAY_WRITE)
async def create_user(request: Request, body: NewUserBody) -> dict[str, Any]:
    """Make a person. Without `consent` it is UNKNOWN, and nothing is sent."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        made = await people.create_person(
            conn,
            actor_of(request),
            resources.settings.secret_key,
            resources.clock.now(),
            body.phone_e164,
            source=_source_of(request),
            attributes=body.attributes,
            timezone=body.timezone,
            given=_given(body.consent) if body.consent else None,
        )
    return describe_person(made, resources.settings.secret_key, is_shown=False)


@router.get("/{user}")
async def show_user(request: Request, user: str, reveal: Annotated[bool, _REVEAL] = False) -> dict[str, Any]:
    """One person, by id or by the whole number."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        found = await people.load_person(conn, find_number(request, user))
        if reveal:
            await _record_reveal(request, conn, [found])
    return describe_person(found, resources.settings.secret_key, is_shown=reveal)


@router.patch("/{user}", dependencies=_MAY_WRITE)
async def change_user(request: Request, user: str, body: UserBody) -> dict[str, Any]:
    """Merge attributes (null takes one away) and set the time zone, as far as they are given."""
    return await _change(request, user, body, replace=False)


@router.put("/{user}", dependencies=_MAY_WRITE)
async def replace_user(request: Request, user: str, body: UserBody) -> dict[str, Any]:
    """Put these attributes and this time zone in place of the old."""
    return await _change(request, user, body, replace=True)


@router.delete("/{user}", status_code=204, dependencies=_MAY_WRITE)
async def erase_user(request: Request, user: str) -> Response:
    """Erase a person for good: profile, words and number; only a keyed hash stays, so that no import brings them back."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        await erasure.erase_person(
            conn,
            actor_of(request),
            resources.settings.secret_key,
            find_number(request, user),
            resources.clock.now(),
        )
    return Response(status_code=204)


@router.get("/{user}/consent")
async def list_consent(request: Request, user: str) -> dict[str, Any]:
    """The person's ledger as evidence: what was said when and by whom, and the state before and after."""
    number = find_number(request, user)
    async with resources_of(request).pool.connection() as conn:
        person = await people.load_person(conn, number)
        entries = await consent.list_history(conn, number)
    return {
        "consent_state": person.consent_state,
        "items": [describe_entry(entry) for entry in entries],
        "next_cursor": None,
    }


@router.post("/{user}/consent", status_code=201, dependencies=_MAY_WRITE)
async def state_consent(request: Request, user: str, body: ConsentBody) -> dict[str, Any]:
    """Enter a statement about the person's consent with its evidence."""
    resources = resources_of(request)
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await people.state_consent(
            conn,
            actor_of(request),
            resources.settings.secret_key,
            resources.clock.now(),
            find_number(request, user),
            given=_given(body),
            source=_source_of(request),
        )
    return describe_person(changed, resources.settings.secret_key, is_shown=False)


def find_number(request: Request, user: str) -> str:
    """Return the number behind a person's id; the number itself will do too. Errors: NotFound."""
    number = user if is_e164(user) else read_reference(resources_of(request).settings.secret_key, user)
    if number is None:
        raise NotFound("There is no such person. Give an id from the list, or the number as +14155550100.")
    return number


def read_search(request: Request, consent: str | None, country: str | None, search: str | None) -> Wanted:
    """A search for digits is for the number. Errors: Denied when it would tell a viewer what the mask hides."""
    text = (search or "").strip()
    if not any(character.isdigit() for character in text) or text.strip("+0123456789 ().-/"):
        return Wanted(consent, country, text=text or None)
    principal: Principal = request.state.principal
    if principal.role >= Role.operator:
        return Wanted(consent, country, number=text)
    if not is_e164(text):
        raise Denied(
            "A part of a number can be searched for by operators. Search for the whole number, like +14155550100."
        )
    return Wanted(consent, country, phone=text)


def describe_person(person: Person, secret_key: str, *, is_shown: bool) -> dict[str, Any]:
    return {
        "id": make_reference(secret_key, person.phone_e164),
        "phone_e164": person.phone_e164 if is_shown else mask_phone(person.phone_e164),
        "country": person.country,
        "timezone": person.timezone,
        "attributes": person.attributes,
        "consent_state": person.consent_state,
        "consent_entry": str(person.consent_entry) if person.consent_entry else None,
        "created_at": format_instant(person.created_at),
        "updated_at": format_instant(person.updated_at),
    }


def describe_entry(entry: LedgerEntry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "occurred_at": format_instant(entry.occurred_at),
        "recorded_at": format_instant(entry.recorded_at),
        "action": entry.action,
        "source": entry.source,
        "actor": entry.actor,
        "message_sid": entry.message_sid,
        "evidence": entry.evidence,
        "state_before": entry.state_before,
        "state_after": entry.state_after,
    }


async def _change(request: Request, user: str, body: UserBody, *, replace: bool) -> dict[str, Any]:
    resources = resources_of(request)
    given = body.model_fields_set if not replace else {"attributes", "timezone"}
    zone = {"timezone": body.timezone} if "timezone" in given else {}
    async with resources.pool.connection() as conn, transaction(conn):
        changed = await people.change_person(
            conn,
            actor_of(request),
            resources.settings.secret_key,
            resources.clock.now(),
            find_number(request, user),
            attributes=body.attributes if "attributes" in given else None,
            replace=replace,
            **zone,
        )
    return describe_person(changed, resources.settings.secret_key, is_shown=False)


async def _record_reveal(request: Request, conn: Any, shown: list[Person]) -> None:
    principal: Principal = request.state.principal
    require(principal.role, Role.operator)
    resources = resources_of(request)
    phones = [person.phone_e164 for person in shown]
    async with transaction(conn):
        await people.record_reveal(
            conn, actor_of(request), resources.settings.secret_key, resources.clock.now(), phones
        )


def _source_of(request: Request) -> str:
    principal: Principal = request.state.principal
    return "page" if principal.kind == "operator" else "api"


def _given(body: ConsentBody) -> ConsentGiven:
    return ConsentGiven(body.state, body.evidence, body.proved)
