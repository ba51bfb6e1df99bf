"""Cells of CSV that no spreadsheet runs: the one rule of what it would take for a formula."""

import re

# Blanks and what cannot be seen (Unicode's Z, Cc, Cf, Co). Written out, because this has to be an expression that Python
# and RE2, which Arrow has, read alike: Python knows no \p{…}.
_UNSEEN = (
    r"\x00-\x20\x7f-\xa0\xad"
    "\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000"
    "\ue000-\uf8ff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000f0000-\U000ffffd\U00100000-\U0010fffd"
)
FORMULA = rf"^(?:[{_UNSEEN}]*[=+\-@＝＋－＠]|[\t\r\n])"
SIGNED_NUMBER = r"[+\-][0-9]+(?:\.[0-9]+)?%?"  # the whole of it runs nothing; phone numbers are some
_FORMULA = re.compile(FORMULA)
_SIGNED_NUMBER = re.compile(SIGNED_NUMBER)


def make_cell_safe(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula, also behind blanks and what cannot be seen."""
    return f"'{text}" if _FORMULA.match(text) and not _SIGNED_NUMBER.fullmatch(text) else text
