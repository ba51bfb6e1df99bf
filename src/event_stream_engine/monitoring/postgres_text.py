"""Statements as people may see them: without anybody's data, short, and with what they are for."""

import re

MOST_LETTERS = 4000
# Utility statements are not normalised by PostgreSQL: `ALTER ROLE … PASSWORD '…'` stands there as it was written. Comments
# stay, but must be recognised: an apostrophe in one begins no string.
_COMMENT = r"--[^\n]*|/\*.*?\*/"
_TOKEN = re.compile(
    rf"(?P<comment>{_COMMENT})|(?P<tag>\$[A-Za-z_]*\$).*?(?:(?P=tag)|$)|'(?:[^']|'')*(?:'|$)", re.DOTALL
)
_NUMBER = re.compile(r"(?<![\w$])\d{4,}")
_PURPOSE = re.compile(r"^-- for: (.+)$", re.MULTILINE)


def mask_literals(text: str) -> str:
    """Return a statement without its strings and its numbers of four digits or more."""
    return _NUMBER.sub("…", _TOKEN.sub(lambda found: found["comment"] or "'…'", text))


def find_purpose(text: str) -> str | None:
    """Return what a statement of ours is for, as its header says."""
    found = _PURPOSE.search(text)
    return found[1] if found else None


def shorten(text: str, most: int = 160) -> str:
    """Return a statement on one line, without comments, cut."""
    line = " ".join(re.sub(_COMMENT, " ", text, flags=re.DOTALL).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"
