from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.campaigns.prohibited import find_prohibited, fold_text
from event_stream_engine.campaigns.rendering import (
    Content,
    Placeholder,
    Unsendable,
    list_placeholders,
    measure_text,
    parse_template,
    render_content,
)
from event_stream_engine.kernel.errors import Invalid

PHONE = "+14155550100"


def render(body: str, **attributes: Any) -> str:
    return render_content(Content(body, None, {}), PHONE, attributes).body


@pytest.mark.parametrize(
    ("body", "attributes", "text"),
    [
        ("Hi {name}!", {"name": "Ann"}, "Hi Ann!"),
        ("Hi { name }!", {"name": "Ann"}, "Hi Ann!"),
        ("Hi {First name|friend}!", {}, "Hi friend!"),
        ("Hi {name|friend}!", {"name": ""}, "Hi friend!"),
        ("Hi{name|}!", {}, "Hi!"),
        ("{{name}} is {name}", {"name": "Ann"}, "{name} is Ann"),
        ("{{{name}}}", {"name": "Ann"}, "{Ann}"),
        ("{points} points, {ratio}", {"points": 7, "ratio": 0.5}, "7 points, 0.5"),
        (
            "{owed} of {debt}, {all}",
            {"owed": 19999.99, "debt": 1234567.0, "all": 12345678901},
            "19999.99 of 1234567, 12345678901",
        ),
        ("Hi {name|friend}!", {"name": " \n"}, "Hi friend!"),
        ("{name}", {"name": "{phone}"}, "{phone}"),
        ("from {phone}", {}, f"from {PHONE}"),
    ],
)
def test_placeholders_are_filled(body: str, attributes: dict[str, Any], text: str) -> None:
    assert render(body, **attributes) == text


@pytest.mark.parametrize("value", [None, "", "  ", [], {"a": 1}, True])
def test_a_value_that_is_no_text_is_missing_and_denies_the_message(value: object) -> None:
    with pytest.raises(Unsendable) as refused:
        render("Hi {name}, {city}", name=value)
    assert (refused.value.reason, refused.value.detail) == ("placeholder_missing", "no value for name, city")


@pytest.mark.parametrize(
    "body", ["Hi {name", "Hi name}", "{}", "{ }", "{a{b}", "{|x}", "{" + "n" * 101 + "}"]
)
def test_a_template_with_broken_braces_is_refused_with_the_place(body: str) -> None:
    with pytest.raises(Invalid, match="character"):
        parse_template(body)


@given(st.text())
def test_escaped_text_comes_out_as_it_was(text: str) -> None:
    parts = parse_template(text.replace("{", "{{").replace("}", "}}"))
    assert "".join(part for part in parts if isinstance(part, str)) == text
    assert not any(isinstance(part, Placeholder) for part in parts)


@pytest.mark.parametrize(("body", "reason"), [("x" * 1601, "too_long"), ("{gap|} ", "empty")])
def test_a_text_too_long_or_empty_is_not_sent(body: str, reason: str) -> None:
    with pytest.raises(Unsendable) as refused:
        render(body)
    assert refused.value.reason == reason


def test_an_approved_template_is_shorter_and_fills_its_variables() -> None:
    content = Content("Hi {name}", "HX" + "0" * 32, {"1": "{name}", "2": "{code|none}"})
    assert render_content(content, PHONE, {"name": "Ann"}).variables == {"1": "Ann", "2": "none"}
    assert [one.name for one in list_placeholders(content)] == ["name", "code"]
    with pytest.raises(Unsendable, match="1024"):
        render_content(Content("x" * 1025, "HX" + "0" * 32, {}), PHONE, {})


def test_a_variable_stays_on_one_line_and_is_never_empty() -> None:
    content = Content("Hi", "HX" + "0" * 32, {"1": "{street|}"})
    assert render_content(content, PHONE, {"street": " 1 Main\n  Road\t"}).variables == {"1": "1 Main Road"}
    with pytest.raises(Unsendable) as refused:
        render_content(content, PHONE, {})
    assert refused.value.reason == "empty"


def test_the_character_that_makes_a_text_ucs2_is_named() -> None:
    size = measure_text("Soon… " + "x" * 100)
    assert (size.encoding, size.segments) == ("UCS-2", 2)
    assert (size.foreign_character, size.foreign_name, size.foreign_position) == (
        "…",
        "HORIZONTAL ELLIPSIS",
        4,
    )
    plain = measure_text("Soon... €")
    assert (plain.encoding, plain.segments, plain.foreign_character) == ("GSM-7", 1, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Win a FREE   Prize now", "free prize"),
        ("freedom prizes", None),
        ("Casino!", "casino"),
        ("now 100% off", "100%"),
        ("now 100%off", None),
        ("ｃａｓｉｎｏ", "casino"),
        ("CASİNO", None),
        ("GROSSE PREISE", "große preise"),
        ("", None),
    ],
)
def test_prohibited_words_are_found_on_word_boundaries_in_any_case(text: str, found: str | None) -> None:
    words = [fold_text(word) for word in ("casino", "free prize", "100%", "Große Preise")]
    assert find_prohibited(text, words) == (None if found is None else fold_text(found))


def test_without_a_list_nothing_is_prohibited() -> None:
    assert find_prohibited("casino", []) is None
