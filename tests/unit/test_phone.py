import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.kernel.phone import is_e164, mask_phone, split_channel

numbers = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
MASKED = re.compile(r"\+(\d{1,3}) (?:(\d{1,3}) )?••• ••(\d\d)")


@given(numbers)
def test_a_mask_shows_country_area_and_two_digits_and_hides_at_least_four(phone: str) -> None:
    shown = MASKED.fullmatch(mask_phone(phone))
    assert shown is not None
    code, area, end = shown.groups(default="")
    assert phone.startswith(f"+{code}{area}")
    assert phone.endswith(end)
    subscriber = len(phone) - 1 - len(code)
    hidden = subscriber - len(area) - len(end)
    assert hidden >= min(4, subscriber - 2)


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+14155551234", "+1 415 ••• ••34"),
        ("+447776105348", "+44 777 ••• ••48"),
        ("+4930123456", "+49 30 ••• ••56"),
        ("+3581234567", "+358 1 ••• ••67"),
        ("+2907123", "+290 ••• ••23"),
        ("12345", "•••"),
        ("whatsapp:+14155551234", "•••"),
        ("+1415555123456789", "•••"),
        ("+14155551234\n", "•••"),
        ("", "•••"),
    ],
)
def test_masks_of_known_numbers(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [("+14155551234", True), ("+0155551234", False), ("+141555", False), ("+1415555123٤", False)],
)
def test_e164_is_a_plus_and_seven_to_fifteen_digits(text: str, expected: bool) -> None:
    assert is_e164(text) is expected


def test_a_channel_is_what_stands_before_the_colon() -> None:
    assert split_channel("whatsapp:+14155551234") == ("whatsapp", "+14155551234")
    assert split_channel("+14155551234") == ("sms", "+14155551234")
