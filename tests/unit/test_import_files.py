import io
import json

import pytest

from event_stream_engine.audience.import_files import (
    Person,
    RejectedRow,
    guess_format,
    make_normaliser,
    read_people,
)
from event_stream_engine.kernel.errors import Invalid


def read(content: bytes | str, format_: str = "csv", region: str | None = None) -> list[Person | RejectedRow]:
    content = content.encode() if isinstance(content, str) else content
    return list(read_people(io.BytesIO(content), format_, region))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+14155550100", "+14155550100"),
        ("whatsapp:+14155550100", "+14155550100"),
        ("tel:+1 (415) 555-0100", "+14155550100"),
        ("0049 30 901820", "+4930901820"),
        ("+44 20\u00a07946\u20110958", "+442079460958"),
        ("(415) 555-0132", "+14155550132"),
        ("030 901820", None),
        ("+0123", None),
        ("hello", None),
        ("+1415555010012345678", None),
    ],
)
def test_number_is_brought_into_e164(written: str, number: str | None) -> None:
    assert make_normaliser("US")(written) == number


def test_national_number_without_region_is_none() -> None:
    assert make_normaliser(None)("(415) 555-0132") is None


def test_unknown_region_is_refused() -> None:
    with pytest.raises(Invalid, match="two letters"):
        make_normaliser("Atlantis")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_column_names_tell_what_is_what_in_any_order_and_with_any_delimiter(delimiter: str) -> None:
    header = delimiter.join(("City", "Mobile", "Consent State", "Time Zone", "age"))
    row = delimiter.join(("San Francisco", "+14155550100", "opt-in", "Europe/Berlin", "42"))
    (person,) = read(f"\ufeff{header}\r\n{row}\r\n")
    assert isinstance(person, Person)
    assert (person.row, person.phone, person.consent, person.timezone) == (
        1,
        "+14155550100",
        "OPT_IN",
        "Europe/Berlin",
    )
    assert json.loads(person.attributes) == {"City": "San Francisco", "age": 42}


def test_csv_cells_in_plain_number_form_are_numbers_and_others_stay_text() -> None:
    (person,) = read("phone,a,b,c,d,e,f\n+14155550100,7,0.5,02134,1e3,TRUE,\n")
    assert isinstance(person, Person)
    assert json.loads(person.attributes) == {"a": 7, "b": 0.5, "c": "02134", "d": "1e3", "e": True}


def test_quoted_newlines_do_not_split_a_row() -> None:
    first, second = read('phone,note\n+14155550100,"one\ntwo"\n+14155550101,three\n')
    assert isinstance(first, Person)
    assert json.loads(first.attributes) == {"note": "one\ntwo"}
    assert (first.row, second.row) == (1, 2)


def test_each_bad_row_is_rejected_with_its_number_and_reason_and_the_rest_goes_on() -> None:
    content = (
        b"phone,consent,tz,name\n"
        b"+14155550100,OPT_IN,,Ann\n"
        b",OPT_IN,,nobody\n"
        b"12,OPT_IN,,short\n"
        b"+14155550101,maybe,,unsure\n"
        b"+14155550102,,Mars/Base,far\n"
        b"+14155550103,,,\xff\xfe\n"
        b"+14155550104,,\n"
        b"+14155550105,,,nul\0\n"
        b"+14155550106,,,Zoe\n"
    )
    found = read(content)
    assert [one.row for one in found if isinstance(one, Person)] == [1, 9]
    reasons = {one.row: one.reason for one in found if isinstance(one, RejectedRow)}
    assert {row: reason.split()[0] for row, reason in reasons.items()} == {
        2: "no",
        3: "no",
        4: "consent",
        5: "'Mars/Base'",
        6: "bytes",
        7: "3",
        8: "A",
    }
    assert not any("\0" in one.value for one in found if isinstance(one, RejectedRow))


def test_csv_without_a_column_of_numbers_is_refused_as_a_whole() -> None:
    with pytest.raises(Invalid, match="names no column with the number"):
        read("name,city\nAnn,Austin\n")


def test_ndjson_and_json_give_the_same_people() -> None:
    rows = [
        {"phone": "+14155550100", "consent": True, "attributes": {"city": "Austin"}, "tier": "premium"},
        {"phone_e164": "whatsapp:+14155550101", "tags": ["a", "b"], "gone": None},
        ["no object"],
    ]
    lines = read("\n".join(json.dumps(row) for row in rows) + "\n\nnot json\n", "ndjson")
    array = read(json.dumps(rows, indent=2), "json")
    assert lines[:3] == array
    first, second = (one for one in array if isinstance(one, Person))
    assert (first.consent, json.loads(first.attributes)) == ("OPT_IN", {"city": "Austin", "tier": "premium"})
    assert json.loads(second.attributes) == {"tags": ["a", "b"]}
    assert [type(one) for one in lines] == [Person, Person, RejectedRow, RejectedRow]


def test_json_array_longer_than_the_buffer_is_read_to_its_end() -> None:
    rows = [{"phone": f"+1415{number:07d}", "note": "x" * 500} for number in range(2000000, 2001000)]
    assert len(read(json.dumps(rows), "json")) == 1000


@pytest.mark.parametrize("content", ["{}", "", "[{", '[{"phone": "+1415'])
def test_what_is_no_json_array_is_refused(content: str) -> None:
    with pytest.raises(Invalid, match="no JSON array"):
        read(content, "json")


def test_line_longer_than_the_limit_is_rejected_and_the_next_one_read() -> None:
    content = b'{"phone": "+14155550100", "x": "' + b"y" * 100_000 + b'"}\n{"phone": "+14155550101"}\n'
    rejected, person = read(content, "ndjson")
    assert isinstance(rejected, RejectedRow)
    assert isinstance(person, Person)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.CSV", "csv"), ("a.tsv", "csv"), ("b.json", "json"), ("c.jsonl", "ndjson")]
)
def test_format_follows_from_the_name(name: str, expected: str) -> None:
    assert guess_format(name) == expected


def test_unknown_ending_is_refused() -> None:
    with pytest.raises(Invalid, match="neither"):
        guess_format("people.xlsx")
