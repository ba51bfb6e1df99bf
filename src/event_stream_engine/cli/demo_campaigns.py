"""The demo's segments, templates and campaigns: one of each state, and a small one now and then."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from event_stream_engine.audience.segments import create_segment, list_segments
from event_stream_engine.audit.entries import Actor
from event_stream_engine.campaigns.campaigns import (
    Draft,
    create_campaign,
    list_campaigns,
    schedule_campaign,
    start_campaign,
)
from event_stream_engine.campaigns.templates import TemplateDraft, create_template
from event_stream_engine.infra.database import Connection, transaction

# At any hour it is day for some of the people, so that a campaign to all of them always sends; one to people of these
# countries, for which there is no rule but the campaign's own, sends to all at once when it has no quiet hours.
_COUNTRIES = ["DE", "GB", "IN", "LK"]
_NO_QUIET_HOURS = time(0)
_OPTED_IN = {"field": "consent", "operator": "equals", "value": "OPT_IN"}
_FLASH, _GOLD = "Flash sale", "Gold, "
_SMALL = ("London", "Colombo", "Berlin", "Mumbai")


def _equals(name: str, value: object) -> dict[str, Any]:
    return {"field": f"attributes.{name}", "operator": "equals", "value": value}


def _opted_in_and(*conditions: Mapping[str, Any]) -> dict[str, Any]:
    return {"and": [_OPTED_IN, *conditions]}


_SEGMENTS: Mapping[str, Mapping[str, Any]] = {
    "Everybody who opted in": _OPTED_IN,
    "Gold and platinum": _opted_in_and(
        {"field": "attributes.tier", "operator": "in", "value": ["gold", "platinum"]}
    ),
    "Regular customers": _opted_in_and({"field": "attributes.orders", "operator": "greater", "value": 10}),
    "Platinum, Europe and South Asia": _opted_in_and(
        _equals("tier", "platinum"), {"field": "country", "operator": "in", "value": _COUNTRIES}
    ),
} | {f"{_GOLD}{city}": _opted_in_and(_equals("city", city), _equals("tier", "gold")) for city in _SMALL}
# Name, channel, locale, text; all for SMS but the last, which WhatsApp takes outside of a conversation.
_TEXTS = (
    (
        "Season sale",
        "en",
        "Hi {first_name|there}, 20 % off for {tier} members until Sunday. Reply STOP to opt out.",
    ),
    (
        "Welcome",
        "en",
        "Welcome, {first_name|friend}! Free delivery to {city} this week. Reply STOP to opt out.",
    ),
    (_FLASH, "en", "{first_name|Hi}, today only: two for one in our shop in {city}. Reply STOP to opt out."),
    (
        "Neue Kollektion",
        "de",
        "Hallo {first_name|zusammen}, die neue Kollektion ist da – schöne Grüße aus {city}!",
    ),
)
_TEMPLATES = (
    *(TemplateDraft(name, "sms", locale, text, None, {}) for name, locale, text in _TEXTS),
    TemplateDraft(
        "Invitation",
        "whatsapp",
        "en",
        "Hello {first_name|there}, you are invited to our autumn evening in {city}.",
        "HX" + "5e" * 16,
        {"1": "{first_name|there}", "2": "{city}"},
    ),
)


async def make_demo_campaigns(conn: Connection, actor: Actor, sender: str, now: datetime) -> None:
    """Make segments, templates and one campaign of each state, unless there are campaigns already."""
    if await list_campaigns(conn, limit=1):
        return
    async with transaction(conn):
        segments = {
            name: (await create_segment(conn, actor, now, name, tree)).id for name, tree in _SEGMENTS.items()
        }
        templates = {draft.name: (await create_template(conn, actor, now, draft)).id for draft in _TEMPLATES}

        async def make(name: str, segment: str, template: str, rate: int, *, quiet: bool = True) -> UUID:
            hours = {} if quiet else {"quiet_starts": _NO_QUIET_HOURS, "quiet_ends": _NO_QUIET_HOURS}
            draft = Draft(name, segments[segment], templates[template], sender, rate, **hours)
            return (await create_campaign(conn, actor, draft, now)).id

        await make("Autumn evening", "Gold and platinum", "Invitation", 5)
        preview = await make("Collection preview", "Regular customers", "Neue Kollektion", 20)
        await schedule_campaign(conn, actor, preview, now + timedelta(days=1), now=now)
        sale = await make("Season sale", "Everybody who opted in", "Season sale", 4)
        await start_campaign(conn, actor, sale, now)
        welcome = await make(
            "Welcome, platinum", "Platinum, Europe and South Asia", "Welcome", 20, quiet=False
        )
        await start_campaign(conn, actor, welcome, now)
        await make(_FLASH, f"{_GOLD}{_SMALL[0]}", _FLASH, 5, quiet=False)


async def start_small_campaign(conn: Connection, actor: Actor, now: datetime) -> None:
    """Start another flash sale like the newest one, in the next city.

    Errors: Invalid or Conflict when somebody has archived what it needs.
    """
    newest = next(
        (each for each in await list_campaigns(conn, limit=100) if each.name.startswith(_FLASH)), None
    )
    found = {segment.id: segment.name for segment in await list_segments(conn, 200)}
    cities = [segment_id for segment_id, name in found.items() if name.startswith(_GOLD)]
    if newest is None or not cities:
        return
    place = cities.index(newest.segment_id) + 1 if newest.segment_id in cities else 0
    segment_id = cities[place % len(cities)]
    name = f"{_FLASH} {found[segment_id].removeprefix(_GOLD)}, {now:%d %b %H:%M}"
    async with transaction(conn):
        draft = replace(newest.draft, name=name, segment_id=segment_id)
        campaign = await create_campaign(conn, actor, draft, now)
        await start_campaign(conn, actor, campaign.id, now)
