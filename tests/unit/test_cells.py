"""What a spreadsheet would run opens as text, in every CSV alike."""

import sys
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from event_stream_engine.kernel.cells import FORMULA, make_cell_safe

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "  =1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\u00a0=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "＝1+1",
    "\tplain",
    "\r\nx",
    "\u00a0\u200b@SUM(A1)",
    "\U000e0041=1",
    "-",
    "-5\n",
    "- 5",
)
HARMLESS = (
    "hello",
    "",
    "1 = 1",
    "a+b",
    "+14155550100",
    "-5",
    "-5.25",
    "-5.7%",
    "+15%",
    "Spring = summer",
    "é = 🙂",
    'say "hi", twice\nand more',
    "'=1",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_formula_opens_as_text(text: str) -> None:
    assert make_cell_safe(text) == f"'{text}"


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    assert make_cell_safe(text) == text


def test_nothing_that_cannot_be_seen_hides_a_formula_from_python_or_arrow() -> None:
    unseen = [
        letter
        for letter in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(letter) in ("Zs", "Zl", "Zp", "Cc", "Cf", "Co")
    ]
    hidden = [f"{letter}=1" for letter in unseen]
    assert [text for text in hidden if make_cell_safe(text) == text] == []
    assert pc.all(pc.match_substring_regex(pa.array(hidden), FORMULA)).as_py()
