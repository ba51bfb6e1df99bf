"""Phone numbers in E.164, and how they may be shown."""

import re

import phonenumbers

_E164 = re.compile(r"\+[1-9][0-9]{6,14}\Z")

REGIONS = tuple(sorted(phonenumbers.SUPPORTED_REGIONS))  # ISO 3166, two letters


def is_e164(text: str) -> bool:
    return _E164.match(text) is not None


def split_channel(address: str) -> tuple[str, str]:
    """Split a provider address into channel and number: `whatsapp:+1…` is ("whatsapp", "+1…"), `+1…` is ("sms", "+1…")."""
    channel, colon, number = address.partition(":")
    return (channel.lower(), number) if colon else ("sms", address)


def mask_phone(phone: str) -> str:
    """Hide a number's subscriber part: `+14155551234` becomes `+1 415 ••• ••34`.

    What stays readable is the country code, the last two digits, and of the first ones (the area) at most three, so
    that at least four between them are hidden.
    """
    if not is_e164(phone):
        return "•••"
    code = _calling_code(phone[1:])
    subscriber = phone[1 + len(code) :]
    area = subscriber[: min(3, max(0, len(subscriber) - 6))]
    return " ".join(part for part in (f"+{code}", area, "•••", f"••{phone[-2:]}") if part)


def _calling_code(digits: str) -> str:
    for length in (1, 2, 3):
        if int(digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return digits[:length]
    return digits[:1]
