"""One condition of a segment as SQL: which fields there are, what may be asked of them, what it means.

A condition is never NULL, so that `not` turns it round exactly: who has no such attribute, was never messaged or never
wrote does not satisfy `equals`, `less` or `before`, and so does satisfy `not_equals`.

`created` is when the person became known; `last_message` when the provider last took a message to them; `last_reply`
when they last wrote; `channel` a channel on which either happened. Of an attribute, a number, true or false is equal to
its text (`30` and `"30"`), because a CSV file knows only texts. `contains` and `starts_with` ignore case; of a list
`contains` asks for an element.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString

import orjson
from psycopg import sql
from psycopg.types.json import Jsonb

from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.errors import Invalid

STATES = ("OPT_IN", "OPT_OUT", "STOP", "UNKNOWN")
MOST_VALUES = 1000
LONGEST_TEXT = 500
ATTRIBUTE_PREFIX = "attributes."
OPERATORS: Mapping[str, tuple[str, ...]] = {
    "attributes": (
        "equals", "not_equals", "in", "contains", "starts_with", "less", "greater", "before", "after", "exists",
    ),
    "consent": ("equals", "not_equals", "in"),
    "country": ("equals", "not_equals", "in", "exists"),
    "channel": ("equals", "not_equals", "in", "exists"),
    "created": ("before", "after"),
    "last_message": ("before", "after", "exists"),
    "last_reply": ("before", "after", "exists"),
}  # fmt: skip
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_CHANNEL = re.compile(r"[a-z]{1,20}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = "^(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])?)?$"
_NUMBER = "^[+-]?[0-9]{1,40}([.][0-9]{1,40})?$"

Bind = Callable[[object], sql.Placeholder]


def compile_leaf(leaf: Mapping[str, object], path: str, now: datetime, bind: Bind) -> sql.Composable:
    """Compile one condition over alias `u`; `bind` takes a value and returns its placeholder.

    Errors: Invalid naming the place in the tree.
    """
    field, operator = leaf["field"], leaf.get("operator")
    kind, name = _read_field(field, f"{path}.field")
    if operator not in OPERATORS[kind]:
        allowed = ", ".join(OPERATORS[kind])
        raise Invalid(f"{field} cannot be asked {operator!r}. Use one of {allowed}.", f"{path}.operator")
    if "value" not in leaf and operator != "exists":
        raise Invalid(f"{operator} needs a value.", f"{path}.value")
    value, place = leaf.get("value", True), f"{path}.value"
    if operator == "exists" and not isinstance(value, bool):
        raise Invalid("exists takes true, false or no value.", place)
    if operator == "in" and not (isinstance(value, list) and 1 <= len(value) <= MOST_VALUES):
        raise Invalid(f"in takes a list of 1 to {MOST_VALUES} values.", place)
    if operator == "not_equals":
        return sql.SQL("(NOT {})").format(compile_leaf({**leaf, "operator": "equals"}, path, now, bind))
    if operator == "exists" and value is False:
        return sql.SQL("(NOT {})").format(compile_leaf({**leaf, "value": True}, path, now, bind))
    if operator in ("before", "after"):
        instant = bind(_read_instant(value, place, now))
        return _compile_instant(kind, name, str(operator), instant, bind)
    if kind == "attributes":
        return _compile_attribute(name, str(operator), value, place, bind)
    if operator == "exists":
        return _EXISTS[kind]
    values = value if operator == "in" and isinstance(value, list) else [value]
    read = _READERS[kind]
    return _ANY[kind].format(values=bind([read(one, place) for one in values]))


def _read_field(field: object, place: str) -> tuple[str, str]:
    if isinstance(field, str) and field.startswith(ATTRIBUTE_PREFIX) and field != ATTRIBUTE_PREFIX:
        return "attributes", _read_text(field.removeprefix(ATTRIBUTE_PREFIX), place)
    if not isinstance(field, str) or field not in OPERATORS or field == "attributes":
        known = ", ".join(["attributes.<name>", *list(OPERATORS)[1:]])
        raise Invalid(f"There is no field {field!r}. Use one of {known}.", place)
    return field, ""


def _read_text(value: object, place: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_TEXT or _UNSTORABLE.search(value):
        raise Invalid(f"A text of 1 to {LONGEST_TEXT} characters is needed.", place)
    return value


def _read_state(value: object, place: str) -> str:
    if not isinstance(value, str) or value not in STATES:
        raise Invalid(f"{value!r} is no consent state. Use one of {', '.join(STATES)}.", place)
    return value


def _read_country(value: object, place: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{2}|001", value):
        raise Invalid(
            f"{value!r} is no country. Use the two letters of ISO 3166 in capitals, like US.", place
        )
    return value


def _read_channel(value: object, place: str) -> str:
    if not isinstance(value, str) or not _CHANNEL.fullmatch(value):
        raise Invalid(f"{value!r} is no channel. Use sms or whatsapp.", place)
    return value


def _read_scalar(value: object, place: str) -> str | int | float | bool:
    if isinstance(value, str):
        return value if value == "" else _read_text(value, place)
    if isinstance(value, bool):
        return value
    return _read_number(value, place)


def _read_number(value: object, place: str) -> int | float:
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not abs(value) < 10**30  # also not NaN
    ):
        raise Invalid("A text, a number, true or false is needed, as the operator asks.", place)
    return value


def _read_instant(value: Any, place: str, now: datetime) -> datetime:
    """Read an instant with zone, a date (its beginning in UTC), or a span before now."""
    try:
        match value:
            case str() if _DATE.fullmatch(value):
                return datetime.fromisoformat(value).replace(tzinfo=UTC)
            case str():
                return parse_instant(value)
            case {"days_ago": int(days), **rest} if not rest and 0 <= days <= 36_500:
                return now - timedelta(days=days)
            case {"hours_ago": int(hours), **rest} if not rest and 0 <= hours <= 876_000:
                return now - timedelta(hours=hours)
    except (ValueError, OverflowError):
        pass
    raise Invalid(
        'An instant is needed: "2026-03-02T08:00:00Z", "2026-03-02", {"days_ago": 30} or {"hours_ago": 6}.',
        place,
    )


_READERS: Mapping[str, Callable[[object, str], str]] = {
    "consent": _read_state,
    "country": _read_country,
    "channel": _read_channel,
}
# Beside `channel`, the index of both tables begins with the person.
_MESSAGE = "SELECT FROM messages m WHERE m.recipient_phone = u.phone_e164 AND m.is_sent"
_REPLY = "SELECT FROM inbound_events i WHERE i.from_phone = u.phone_e164"
_ANY: Mapping[str, sql.SQL] = {
    "consent": sql.SQL("u.consent_state = ANY ({values}::text[])"),
    "country": sql.SQL("coalesce(u.country = ANY ({values}::text[]), false)"),
    "channel": sql.SQL(
        f"(EXISTS ({_MESSAGE} AND m.channel = ANY ({{values}}::text[]))"
        f" OR EXISTS ({_REPLY} AND i.channel = ANY ({{values}}::text[])))"
    ),
}
_EXISTS: Mapping[str, sql.SQL] = {
    "country": sql.SQL("(u.country IS NOT NULL)"),
    "channel": sql.SQL(f"(EXISTS ({_MESSAGE}) OR EXISTS ({_REPLY}))"),
    "last_message": sql.SQL(f"EXISTS ({_MESSAGE} AND m.cohort_at IS NOT NULL)"),
    "last_reply": sql.SQL(f"EXISTS ({_REPLY})"),
}
_AFTER: Mapping[str, sql.SQL] = {
    "created": sql.SQL("(u.created_at > {instant})"),
    "last_message": sql.SQL(f"EXISTS ({_MESSAGE} AND m.cohort_at > {{instant}})"),
    "last_reply": sql.SQL(f"EXISTS ({_REPLY} AND i.received_at > {{instant}})"),
}
_BEFORE: Mapping[str, sql.SQL] = {
    "created": sql.SQL("(u.created_at < {instant})"),
    "last_message": sql.SQL(
        f"(EXISTS ({_MESSAGE} AND m.cohort_at < {{instant}})"
        f" AND NOT EXISTS ({_MESSAGE} AND m.cohort_at >= {{instant}}))"
    ),
    "last_reply": sql.SQL(
        f"(EXISTS ({_REPLY} AND i.received_at < {{instant}})"
        f" AND NOT EXISTS ({_REPLY} AND i.received_at >= {{instant}}))"
    ),
}
# A cast of what is no instant would fail the whole question. CASE keeps the order that AND does not promise; the last
# day of the month is checked because the pattern lets 30 February pass.
_ATTRIBUTE_INSTANT = """(CASE WHEN coalesce(u.attributes ->> {name}, '') ~ {pattern} THEN
    CASE WHEN substr(u.attributes ->> {name}, 9, 2) <= '28' OR substr(u.attributes ->> {name}, 9, 2)::integer <= extract(day FROM
            make_date(substr(u.attributes ->> {name}, 1, 4)::integer, substr(u.attributes ->> {name}, 6, 2)::integer, 1) + interval '1 month - 1 day')
        THEN (u.attributes ->> {name})::timestamptz %s {instant} ELSE false END
    ELSE false END)"""
_ATTRIBUTE_NUMBER = """(CASE WHEN jsonb_typeof(u.attributes -> {name}) = 'number' OR coalesce(u.attributes ->> {name}, '') ~ {pattern}
    THEN (u.attributes ->> {name})::numeric %s {number}::numeric ELSE false END)"""
_COMPARISONS: Mapping[str, tuple[LiteralString, LiteralString]] = {
    "before": (_ATTRIBUTE_INSTANT, "<"),
    "after": (_ATTRIBUTE_INSTANT, ">"),
    "less": (_ATTRIBUTE_NUMBER, "<"),
    "greater": (_ATTRIBUTE_NUMBER, ">"),
}


def _compile_instant(
    kind: str, name: str, operator: str, instant: sql.Placeholder, bind: Bind
) -> sql.Composable:
    if kind == "attributes":
        shape, sign = _COMPARISONS[operator]
        return sql.SQL(shape % sign).format(
            name=_text(name, bind), pattern=_text(_INSTANT, bind), instant=instant
        )
    return (_BEFORE if operator == "before" else _AFTER)[kind].format(instant=instant)


def _compile_attribute(name: str, operator: str, value: Any, place: str, bind: Bind) -> sql.Composable:
    match operator:
        case "exists":
            return sql.SQL("((u.attributes ->> {name}) IS NOT NULL)").format(name=_text(name, bind))
        case "equals" | "in":
            values = [_read_scalar(one, place) for one in (value if operator == "in" else [value])]
            wanted = [Jsonb({name: one}, dumps=orjson.dumps) for one in _add_twins(values)]
            # Containment, because the index on attributes answers it; ANY becomes one probe for each value.
            return sql.SQL("(u.attributes @> ANY ({wanted}::jsonb[]))").format(wanted=bind(wanted))
        case "less" | "greater":
            shape, sign = _COMPARISONS[operator]
            return sql.SQL(shape % sign).format(
                name=_text(name, bind),
                pattern=_text(_NUMBER, bind),
                number=bind(str(_read_number(value, place))),
            )
        case "starts_with":
            return sql.SQL(
                "(coalesce(jsonb_typeof(u.attributes -> {name}), '') IN ('string', 'number', 'boolean')"
                " AND starts_with(lower(u.attributes ->> {name}), lower({value})) IS TRUE)"
            ).format(name=_text(name, bind), value=_text(_read_text(value, place), bind))
        case _:  # contains
            elements = [
                Jsonb({name: [one]}, dumps=orjson.dumps) for one in _add_twins([_read_scalar(value, place)])
            ]
            text = _text(
                _read_text(value if isinstance(value, str) else orjson.dumps(value).decode(), place), bind
            )
            return sql.SQL(
                "(CASE jsonb_typeof(u.attributes -> {name}) WHEN 'array' THEN u.attributes @> ANY ({elements}::jsonb[])"
                " WHEN 'object' THEN false ELSE coalesce(strpos(lower(u.attributes ->> {name}), lower({text})) > 0, false) END)"
            ).format(name=_text(name, bind), elements=bind(elements), text=text)


def _text(value: str, bind: Bind) -> sql.Composable:
    return bind(value) + sql.SQL("::text")


def _add_twins(values: list[str | int | float | bool]) -> list[str | int | float | bool]:
    """Add to each number, true and false its text, and to each such text what it is the text of."""
    twins: list[str | int | float | bool] = []
    for value in values:
        twins.append(value)
        if not isinstance(value, str):
            twins.append(orjson.dumps(value).decode())
            continue
        try:
            meant = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        if isinstance(meant, (int, float)) and orjson.dumps(meant).decode() == value:
            twins.append(meant)
    return twins
