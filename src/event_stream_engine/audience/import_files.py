"""Files of people read row by row: CSV, JSON, NDJSON; each row a person or a reason why not. Memory stays flat.

The number is found by its column's name, consent and time zone likewise; everything else becomes an attribute.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any
from zoneinfo import available_timezones

import orjson
import phonenumbers

from event_stream_engine.audience.attributes import check_attributes
from event_stream_engine.kernel.errors import Invalid

FORMATS = ("csv", "json", "ndjson")
LONGEST_ROW = 64 * 1024
PHONE_COLUMNS = ("phone_e164", "phone", "phone_number", "number", "mobile", "msisdn", "telephone", "tel")
CONSENT_COLUMNS = ("consent_state", "consent", "opt_in")
TIMEZONE_COLUMNS = ("timezone", "time_zone", "tz")
CONSENT_WORDS = (
    dict.fromkeys(("opt_in", "opt-in", "optin", "opted_in", "subscribed", "yes", "true", "1"), "OPT_IN")
    | dict.fromkeys(
        ("opt_out", "opt-out", "optout", "opted_out", "unsubscribed", "no", "false", "0"), "OPT_OUT"
    )
    | {"stop": "STOP", "": None, "unknown": None}
)
_CLEAN = re.compile(r"\+[1-9][0-9]{6,14}\Z")
_PREFIX = re.compile(r"(?:whatsapp|sms|tel|rcs|messenger):", re.IGNORECASE)
_PUNCTUATION = re.compile(r"[\s().\-/\u00a0\u2010-\u2015]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,9})?\Z")
_SHOWN = 200
_ZONES = frozenset(available_timezones())


@dataclass(frozen=True, slots=True)
class Person:
    """One good row. `consent` is OPT_IN, OPT_OUT, STOP or None for nothing said; `attributes` is JSON."""

    row: int
    phone: str
    consent: str | None
    timezone: str | None
    attributes: str


@dataclass(frozen=True, slots=True)
class RejectedRow:
    row: int
    reason: str
    value: str


def guess_format(file_name: str) -> str:
    """Return the format a file's name tells. Errors: Invalid."""
    ending = file_name.lower().rsplit(".", 1)[-1]
    found = {"csv": "csv", "tsv": "csv", "txt": "csv", "json": "json", "ndjson": "ndjson", "jsonl": "ndjson"}
    if ending not in found:
        raise Invalid(
            f"{file_name} is neither .csv nor .json nor .ndjson. Give it one of these names.", "file"
        )
    return found[ending]


def read_people(file: IO[bytes], format_: str, default_region: str | None) -> Iterator[Person | RejectedRow]:
    """Yield each row of a file as a person or as rejected; rows count from 1, a CSV's header not counted.

    Errors: Invalid when the file as a whole cannot be read: no header with a number, not JSON.
    """
    rows = {"csv": _read_csv, "json": _read_json, "ndjson": _read_ndjson}[format_](file)
    normalise = make_normaliser(default_region)
    for number, row in enumerate(rows, 1):
        yield _reject(number, row[0], row[1]) if isinstance(row, tuple) else _read_row(number, row, normalise)


def make_normaliser(default_region: str | None) -> Callable[[str], str | None]:
    """Make the function that turns a number as people write it into E.164, None when it is none.

    Errors: Invalid for an unknown region.
    """
    if default_region is not None and default_region not in phonenumbers.SUPPORTED_REGIONS:
        raise Invalid(f"{default_region!r} is no region; use two letters like US.", "default_region")

    def normalise(text: str) -> str | None:
        if _CLEAN.match(text):
            return text
        bare = _PUNCTUATION.sub("", _PREFIX.sub("", text.strip(), count=1))
        if bare.startswith("00"):
            bare = "+" + bare[2:]
        if _CLEAN.match(bare):
            return bare
        if default_region is None or bare.startswith("+"):
            return None
        try:
            number = phonenumbers.parse(bare, default_region)
        except phonenumbers.NumberParseException:
            return None
        if not phonenumbers.is_valid_number(number):
            return None
        return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)

    return normalise


def _read_row(
    number: int, row: Mapping[str, Any], normalise: Callable[[str], str | None]
) -> Person | RejectedRow:
    written = row.get("phone")
    if not isinstance(written, str) or not written.strip():
        return _reject(number, "no number", str(written or ""))
    phone = normalise(written)
    if phone is None:
        reason = "no number in E.164 like +14155550100, nor a valid one of the default region"
        return _reject(number, reason, written)
    said = row.get("consent")
    word = str(said).strip().lower() if said is not None else ""
    if word not in CONSENT_WORDS:
        return _reject(number, f"consent {word[:40]!r} is none of OPT_IN, OPT_OUT, STOP", written)
    zone = row.get("timezone") or None
    if zone is not None and zone not in _ZONES:
        return _reject(number, f"{str(zone)[:60]!r} is no time zone of the tz database", written)
    try:
        attributes = check_attributes(row["attributes"])
    except Invalid as error:
        return _reject(number, str(error), written)
    return Person(number, phone, CONSENT_WORDS[word], zone, attributes)


def _reject(row: int, reason: str, value: str) -> RejectedRow:
    shown = value[:_SHOWN].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return RejectedRow(row, reason, shown)


def _read_csv(file: IO[bytes]) -> Iterator[dict[str, Any] | tuple[str, str]]:
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    csv.field_size_limit(LONGEST_ROW)
    head = lines.readline(LONGEST_ROW)
    delimiter = max(",;\t|", key=head.count)
    header = next(csv.reader([head], delimiter=delimiter), [])
    phone, consent, timezone = _find_columns(header)
    names = [name.strip() for name in header]
    others = [
        (place, name) for place, name in enumerate(names) if place not in (phone, consent, timezone) and name
    ]
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            lines.detach()
            return
        except csv.Error as error:
            yield f"not readable: {error}", ""
            continue
        if not row:
            continue
        if len(row) != len(names):
            yield f"{len(row)} fields where the header has {len(names)}", delimiter.join(row)
            continue
        if not (text := "".join(row)).isascii() and not _is_clean(text):
            yield "bytes that are not UTF-8", delimiter.join(row)
            continue
        yield {
            "phone": row[phone],
            "consent": row[consent] if consent is not None else None,
            "timezone": row[timezone].strip() if timezone is not None else None,
            "attributes": {name: _read_value(row[place]) for place, name in others if row[place]},
        }


def _find_columns(header: Sequence[str]) -> tuple[int, int | None, int | None]:
    folded = [re.sub(r"[\s\-]+", "_", name.strip().lower()) for name in header]

    def find(names: Sequence[str]) -> int | None:
        return next((folded.index(name) for name in names if name in folded), None)

    phone = find(PHONE_COLUMNS)
    if phone is None:
        raise Invalid(
            f"The first line names no column with the number. Name it one of {', '.join(PHONE_COLUMNS)}.",
            "file",
        )
    return phone, find(CONSENT_COLUMNS), find(TIMEZONE_COLUMNS)


def _is_clean(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _read_value(text: str) -> str | int | float | bool:
    """Read a cell: what is a number or true or false in plain form is one, so that it can be compared as such."""
    if _NUMBER.match(text):
        return float(text) if "." in text else int(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _read_ndjson(file: IO[bytes]) -> Iterator[dict[str, Any] | tuple[str, str]]:
    while line := file.readline(LONGEST_ROW + 1):
        if len(line) > LONGEST_ROW:
            while line and not line.endswith(b"\n"):
                line = file.readline(LONGEST_ROW)
            yield f"longer than {LONGEST_ROW // 1024} kB", ""
            continue
        if not line.strip():
            continue
        try:
            yield _read_object(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            yield f"not JSON: {error}", line.decode("utf-8", "replace")


def _read_json(file: IO[bytes]) -> Iterator[dict[str, Any] | tuple[str, str]]:
    """Read an array of objects one after the other: the file may be larger than the memory."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace")
    decoder, buffer = json.JSONDecoder(), text.read(LONGEST_ROW).lstrip()
    if not buffer.startswith("["):
        raise Invalid(
            "The file is no JSON array of objects. For one object in each line name it .ndjson.", "file"
        )
    buffer = buffer[1:]
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer.startswith("]"):
            break
        try:
            value, end = decoder.raw_decode(buffer)
            if end == len(buffer) and (more := text.read(LONGEST_ROW)):  # a number may go on
                buffer += more
                continue
        except json.JSONDecodeError as error:
            more = text.read(LONGEST_ROW)
            if not more or len(buffer) > LONGEST_ROW:
                raise Invalid(f"The file is no JSON array of objects: {error}.", "file") from None
            buffer += more
            continue
        buffer = buffer[end:]
        yield _read_object(value)
    text.detach()


def _read_object(value: object) -> dict[str, Any] | tuple[str, str]:
    if not isinstance(value, dict):
        return "no JSON object", str(value)
    columns = {re.sub(r"[\s\-]+", "_", name.strip().lower()): name for name in value}

    def take(names: Sequence[str]) -> str | None:
        return next((columns[name] for name in names if name in columns), None)

    phone, consent, timezone = take(PHONE_COLUMNS), take(CONSENT_COLUMNS), take(TIMEZONE_COLUMNS)
    nested = value.get("attributes")
    attributes = dict(nested) if isinstance(nested, dict) else {}
    special = {phone, consent, timezone} | ({"attributes"} if isinstance(nested, dict) else set())
    attributes |= {name: found for name, found in value.items() if name not in special and found is not None}
    return {
        "phone": str(value[phone]) if phone and value[phone] is not None else None,
        "consent": value[consent] if consent else None,
        "timezone": value[timezone] if timezone else None,
        "attributes": attributes,
    }
