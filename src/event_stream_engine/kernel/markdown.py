"""Markdown from texts that may hold anything: what a person wrote stays text."""

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"([\\`*_\[\]<>|#~])")


def escape(text: str) -> str:
    """Take from a text whatever Markdown would read as markup."""
    return _MARKUP.sub(r"\\\1", text)


def write_table(
    titles: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool] | None = None
) -> str:
    """Return a table, its columns of numbers aligned to the right; nothing for no rows."""
    if not rows:
        return ""
    aligned = ["---:" if is_number else "---" for is_number in numbers or [False] * len(titles)]
    lines = [titles, aligned, *rows]
    return "\n".join(
        f"| {' | '.join(cell if line is aligned else _escape_cell(cell) for cell in line)} |"
        for line in lines
    )


def _escape_cell(text: str) -> str:
    return escape(text).replace("\n", "<br>")
