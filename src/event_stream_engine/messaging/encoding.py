"""How a text becomes SMS segments: price and throughput count segments, not messages. Source: 3GPP TS 23.038."""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")  # an escape before each: two septets


def count_segments(text: str) -> int:
    """Return how many segments carry the text: GSM-7 160 or 153 each, otherwise UCS-2 70 or 67 each; at least 1."""
    if find_foreign_character(text) is None:
        return _count(sum(2 if letter in _EXTENDED else 1 for letter in text), 160, 153)
    return _count(len(text.encode("utf-16-le")) // 2, 70, 67)


def find_foreign_character(text: str) -> tuple[int, str] | None:
    """Return position and character of the first that GSM-7 lacks: it makes the whole text UCS-2."""
    return next(
        ((place, one) for place, one in enumerate(text) if one not in _BASIC and one not in _EXTENDED), None
    )


def _count(units: int, alone: int, joined: int) -> int:
    return 1 if units <= alone else -(-units // joined)
