"""The people we may write to: profiles by number, found, made, changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import available_timezones

import orjson
from psycopg.types.json import Jsonb

from event_stream_engine.audience import changes, consent
from event_stream_engine.audience.attributes import check_attributes
from event_stream_engine.audience.conditions import STATES
from event_stream_engine.audience.consent import Statement
from event_stream_engine.audit.entries import Actor, Entry, hash_person, name_person, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Conflict, Invalid, NotFound
from event_stream_engine.kernel.phone import is_e164

SQL = load_queries(__package__)
LONGEST_EVIDENCE = 2000
_ACTIONS: Mapping[str, str] = {"OPT_OUT": "opt_out", "STOP": "stop"}
_ZONES = frozenset(available_timezones())
_PUNCTUATION = re.compile(r"[\s().\-/]+")
_LIKE = re.compile(r"([\\%_])")


@dataclass(frozen=True, slots=True)
class Person:
    """`consent_entry` is the ledger's entry that made the state; None: nothing is known."""

    phone_e164: str
    country: str | None
    timezone: str | None
    attributes: dict[str, Any]
    consent_state: str
    consent_entry: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a list is narrowed to. `phone` is the whole number, `number` a part of it, `text` of any attribute's
    name or value."""

    consent: str | None = None
    country: str | None = None
    phone: str | None = None
    number: str | None = None
    text: str | None = None

    def parameters(self) -> dict[str, str | None]:
        """Return the parameters of a query that narrows. Errors: Invalid."""
        if self.consent is not None and self.consent not in STATES:
            raise Invalid(f"{self.consent!r} is no consent state. Use one of {', '.join(STATES)}.", "consent")
        if self.country is not None and not re.fullmatch("[A-Z]{2}|001", self.country):
            raise Invalid("A country is two letters in capitals, like US.", "country")
        return {
            "consent": self.consent,
            "country": self.country,
            "phone": self.phone,
            "number": _contains(_PUNCTUATION.sub("", self.number)) if self.number else None,
            "text": _contains(self.text) if self.text else None,
        }


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """A person's consent as somebody states it. `is_proved`: the evidence proves it, so that it opens what was closed."""

    state: str
    evidence: str
    is_proved: bool = False


async def list_people(conn: Connection, wanted: Wanted, most: int, after: str | None = None) -> list[Person]:
    """Return people in the order of their numbers, from the one after `after` on. Errors: Invalid."""
    return await SQL.list_people.many(
        conn, Person, {"after": after or "", "most": most, **wanted.parameters()}
    )


@dataclass(frozen=True, slots=True)
class _AttributeName:
    name: str


async def list_attribute_names(conn: Connection) -> list[str]:
    """Return the names of attributes that people who came lately have, as suggestions."""
    return [row.name for row in await SQL.list_attribute_names.many(conn, _AttributeName)]


async def find_person(conn: Connection, phone: str) -> Person | None:
    return await SQL.find_person.maybe(conn, Person, {"phone": phone})


async def load_person(conn: Connection, phone: str) -> Person:
    """Errors: NotFound."""
    found = await find_person(conn, phone)
    if found is None:
        raise NotFound("There is no such person. The number may be wrong, or the person was erased.")
    return found


async def is_suppressed(conn: Connection, secret_key: str, phone: str) -> bool:
    """Tell whether this person was erased and must not come back."""
    return bool(await SQL.is_suppressed.value(conn, {"hash": hash_person(secret_key, phone)}))


async def create_person(
    conn: Connection,
    actor: Actor,
    secret_key: str,
    at: datetime,
    phone: str,
    *,
    source: str,
    attributes: Mapping[str, Any] | None = None,
    timezone: str | None = None,
    given: ConsentGiven | None = None,
) -> Person:
    """Make a person; without `given` the consent is UNKNOWN. `source` is api or page.

    Errors: Invalid; Conflict when the number is there already or was erased.
    """
    number, kept = read_number(phone), attributes or {}
    check_attributes(kept)
    check_timezone(timezone)
    await changes.prepare_connection(conn)
    made = await SQL.create_person.maybe(
        conn,
        Person,
        {"phone": number, "attributes": Jsonb(kept, dumps=orjson.dumps), "timezone": timezone, "at": at},
    )
    if made is None:
        raise Conflict("This number is there already. Change the person instead.")
    # Asked only now, when an erasure that ran beside us has committed.
    if await is_suppressed(conn, secret_key, number):
        raise Conflict("This number was erased at the person's request and is not taken back (erased).")
    if made.country is None:
        raise Invalid("No country gives out such a number. Check it for a typing error.", "phone")
    after = {"attributes": sorted(kept), "timezone": timezone, "country": made.country}
    await record(conn, actor, Entry(at, "user.created", name_person(secret_key, number), after=after))
    await SQL.note_created.execute(conn, {"phone": number})
    await changes.publish(conn, at)
    if given is not None:
        await state_consent(conn, actor, secret_key, at, number, given=given, source=source)
    return await load_person(conn, number)


async def change_person(
    conn: Connection,
    actor: Actor,
    secret_key: str,
    at: datetime,
    phone: str,
    *,
    attributes: Mapping[str, Any] | None = None,
    replace: bool = False,
    **zone: str | None,
) -> Person:
    """Merge attributes (null takes one away), or replace them all; set `timezone` when it is given, None takes it away.

    Errors: NotFound; Invalid.
    """
    before = await SQL.lock_person.maybe(conn, Person, {"phone": phone})
    if before is None:
        raise NotFound("There is no such person. The number may be wrong, or the person was erased.")
    timezone = zone.get("timezone", before.timezone)
    check_timezone(timezone)
    kept = before.attributes
    if attributes is not None:
        merged = dict(attributes) if replace else {**before.attributes, **attributes}
        kept = {name: value for name, value in merged.items() if value is not None}
    check_attributes(kept)
    changed = sorted(
        name
        for name in kept.keys() | before.attributes.keys()
        if name not in kept or name not in before.attributes or kept[name] != before.attributes[name]
    )
    if not changed and timezone == before.timezone:
        return before
    await changes.prepare_connection(conn)
    await SQL.change_person.execute(
        conn, {"phone": phone, "attributes": Jsonb(kept, dumps=orjson.dumps), "timezone": timezone, "at": at}
    )
    await changes.publish(conn, at)
    entry = Entry(
        at,
        "user.changed",
        name_person(secret_key, phone),
        before={"timezone": before.timezone},
        after={"attributes": changed, "timezone": timezone},
    )
    await record(conn, actor, entry)
    return await load_person(conn, phone)


async def state_consent(
    conn: Connection,
    actor: Actor,
    secret_key: str,
    at: datetime,
    phone: str,
    *,
    given: ConsentGiven,
    source: str,
) -> Person:
    """Enter what is stated of a known person's consent. `source` is api or page.

    Errors: NotFound; Invalid; Conflict when it would re-open a closed consent without proof.
    """
    if given.state not in ("OPT_IN", "OPT_OUT", "STOP"):
        raise Invalid("Consent can be set to OPT_IN, OPT_OUT or STOP.", "consent")
    if not 1 <= len(given.evidence.strip()) <= LONGEST_EVIDENCE or "\0" in given.evidence:
        raise Invalid(
            f"Say in 1 to {LONGEST_EVIDENCE} characters how this is known; it goes into the ledger as evidence.",
            "evidence",
        )
    before = await load_person(conn, phone)
    action = _ACTIONS.get(given.state, "prove" if given.is_proved else "opt_in")
    if action == "opt_in" and before.consent_state in ("OPT_OUT", "STOP"):
        raise Conflict(
            f"This person is in {before.consent_state}. Only proof of a new consent re-opens it: state it as proved, with the"
            " proof as evidence."
        )
    statement = Statement(phone, action, given.evidence.strip())
    await consent.enter_statements(conn, actor, secret_key, [statement], source=source, at=at)
    return await load_person(conn, phone)


async def record_reveal(
    conn: Connection, actor: Actor, secret_key: str, at: datetime, phones: list[str]
) -> None:
    """Record that somebody was shown these numbers in full."""
    entries = [Entry(at, "number.revealed", name_person(secret_key, phone)) for phone in phones]
    await record(conn, actor, *entries)


def read_number(text: str) -> str:
    """Read a number in E.164, as people write it: blanks, brackets, a channel's prefix are taken away.

    Errors: Invalid.
    """
    number = _PUNCTUATION.sub("", text.rpartition(":")[2])
    if not is_e164(number):
        raise Invalid("The number must be in E.164, with + and country code, like +14155550100.", "phone")
    return number


def check_timezone(name: str | None) -> None:
    """Errors: Invalid when it is no name of the tz database."""
    if name is not None and name not in _ZONES:
        raise Invalid(
            f"{name[:60]!r} is no zone of the tz database. Use a name like Europe/Berlin.", "timezone"
        )


def _contains(text: str) -> str:
    return "%" + _LIKE.sub(r"\\\1", text.replace("\0", "")) + "%"
