"""Parameters of saved queries: what `:name` in a text stands for, typed, so that a form can ask and nothing is guessed."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.workbench.statement import read_statement

MOST_PARAMETERS = 20
LONGEST_VALUE = 2000
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,49}\Z", re.ASCII | re.IGNORECASE)
_LARGEST = 2**63

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """`default` None: somebody must give a value. Dates and timestamps are ISO texts."""

    name: str
    type: str = "text"
    default: Value | None = None

    @property
    def described(self) -> dict[str, Any]:
        return {"name": self.name, "type": self.type, "default": self.default}


def _read_text(value: Value) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_VALUE or "\0" in value:
        raise ValueError
    return value


def _read_integer(value: Value) -> int:
    number = int(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int) or not -_LARGEST <= number < _LARGEST:
        raise ValueError
    return number


def _read_number(value: Value) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError
    return number


def _read_boolean(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _read_date(value: Value) -> date:
    return date.fromisoformat(_read_text(value))


def _read_timestamp(value: Value) -> datetime:
    at = datetime.fromisoformat(_read_text(value))
    if at.tzinfo is None:
        raise ValueError
    return at


# type: (how to read a value, what is needed)
TYPES: Mapping[str, tuple[Callable[[Value], Any], str]] = {
    "text": (_read_text, f"a text of at most {LONGEST_VALUE:,} characters"),
    "integer": (_read_integer, "a whole number"),
    "number": (_read_number, "a number"),
    "date": (_read_date, "a date like 2026-03-02"),
    "timestamp": (_read_timestamp, "an instant with its offset like 2026-03-02T09:00:00Z"),
    "boolean": (_read_boolean, "true or false"),
}


def check_parameters(sql: str, parameters: Sequence[Parameter]) -> None:
    """Refuse a text that is none, and parameters that cannot be or are not those of the text.

    Errors: Refused (`sql`); Invalid (`parameters.<place>.<field>`).
    """
    in_text = read_statement(sql).parameters
    if len(parameters) > MOST_PARAMETERS:
        raise Invalid(f"At most {MOST_PARAMETERS} parameters are possible.", "parameters")
    seen: set[str] = set()
    for place, one in enumerate(parameters):
        where = f"parameters.{place}"
        if not _NAME.match(one.name):
            raise Invalid(
                "A name of letters, digits and underscores is needed, 50 at most, not beginning with a digit.",
                f"{where}.name",
            )
        if one.name in seen:
            raise Invalid(f"There are two parameters named {one.name}.", f"{where}.name")
        seen.add(one.name)
        if one.type not in TYPES:
            raise Invalid(f"One of {', '.join(TYPES)} is needed.", f"{where}.type")
        if one.default is not None:
            _read(one, one.default, f"{where}.default")
        if one.name not in in_text:
            raise Invalid(f"The query has no :{one.name}.", f"{where}.name")
    if missing := [name for name in in_text if name not in seen]:
        raise Invalid(f"The query asks for :{missing[0]}, which is not among its parameters.", "parameters")


def read_values(parameters: Sequence[Parameter], given: Mapping[str, Value | None]) -> dict[str, Any]:
    """Return the values a query is run with: what was given, else the default. Errors: Invalid (`parameters.<name>`)."""
    unknown = given.keys() - {one.name for one in parameters}
    if unknown:
        raise Invalid(f"This query has no parameter {min(unknown)}.", f"parameters.{min(unknown)}")
    values: dict[str, Any] = {}
    for one in parameters:
        value = given.get(one.name)
        value = one.default if value is None else value
        where = f"parameters.{one.name}"
        if value is None:
            raise Invalid(f"{one.name} needs a value: {TYPES[one.type][1]}.", where)
        values[one.name] = _read(one, value, where)
    return values


def _read(parameter: Parameter, value: Value, where: str) -> Any:
    read, needed = TYPES[parameter.type]
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError):
        raise Invalid(f"{parameter.name} needs {needed}.", where) from None
