"""`/audience`: who may we write to, and what proves it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.analytics.consent import count_users
from event_stream_engine.audience import consent as ledgers
from event_stream_engine.audience import people
from event_stream_engine.audience.people import Person
from event_stream_engine.audience.references import make_reference, read_reference
from event_stream_engine.audit.trails import list_actor_names
from event_stream_engine.infra.database import snapshot
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.kernel.phone import REGIONS
from event_stream_engine.web.api.users import find_number, read_search
from event_stream_engine.web.pages.exports import link_export
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/audience", include_in_schema=False)
PAGE_LENGTH = 50
MOST_ATTRIBUTES_SHOWN = 4


@dataclass(frozen=True, slots=True)
class PersonRow:
    person: Person
    reference: str
    attributes: str


@router.get("")
async def show_people(
    request: Request,
    consent: str | None = None,
    country: str | None = None,
    search: Annotated[str, Query(max_length=100)] = "",
    after: str | None = None,
) -> Response:
    resources = resources_of(request)
    key = resources.settings.secret_key
    wanted = read_search(request, consent or None, country or None, search)
    place = read_reference(key, after) if after else None
    if after and place is None:
        raise Invalid("This page of the list does not exist. Begin with the first one.", "after")
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await people.list_people(conn, wanted, PAGE_LENGTH + 1, place)
        counts = await count_users(conn)
    shown = found[:PAGE_LENGTH]
    asked = {"consent": consent, "country": country, "search": search}

    def link(**changes: str | None) -> str:
        query = urlencode({name: value for name, value in (asked | changes).items() if value})
        return f"/audience?{query}" if query else "/audience"

    more = len(found) > PAGE_LENGTH
    return render(
        request,
        "audience.html",
        room="audience",
        tab="/audience",
        modules=[],
        people=[
            PersonRow(one, make_reference(key, one.phone_e164), describe_attributes(one.attributes))
            for one in shown
        ],
        counts=counts,
        wanted=wanted,
        search=search,
        countries=REGIONS,
        link=link,
        next_href=link(after=make_reference(key, shown[-1].phone_e164)) if more else None,
        first_href=link() if after else None,
        export_href=link_export("users", asked),
        may_write=may_write(request),
        as_of=resources.clock.now(),
        zone=resources.settings.timezone,
    )


@router.get("/people/{reference}")
async def show_person(request: Request, reference: str) -> Response:
    resources = resources_of(request)
    number = find_number(request, reference)
    async with resources.pool.connection() as conn, snapshot(conn):
        person = await people.load_person(conn, number)
        ledger = await ledgers.list_history(conn, number)
        names = await list_actor_names(conn, [entry.actor for entry in ledger if entry.actor])
    return render(
        request,
        "person.html",
        room="audience",
        tab="/audience",
        modules=["people.js"],
        person=person,
        reference=make_reference(resources.settings.secret_key, number),
        ledger=ledger,
        names=names,
        attributes_json=orjson.dumps(person.attributes, option=orjson.OPT_INDENT_2).decode(),
        may_write=may_write(request),
        as_of=resources.clock.now(),
        zone=resources.settings.timezone,
    )


def describe_attributes(attributes: Mapping[str, Any]) -> str:
    """Name the first few attributes with their values."""
    shown = [f"{name} {value}" for name, value in sorted(attributes.items())[:MOST_ATTRIBUTES_SHOWN]]
    if len(attributes) > MOST_ATTRIBUTES_SHOWN:
        shown.append(f"{len(attributes) - MOST_ATTRIBUTES_SHOWN} more")
    return " · ".join(shown)
