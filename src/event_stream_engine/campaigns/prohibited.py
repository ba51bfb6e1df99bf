"""Words that no campaign may send. A word or phrase is found between word boundaries, whatever its case."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from event_stream_engine.audit.entries import Actor, Entry, record
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.errors import Invalid

SQL = load_queries(__package__)
MOST_WORDS = 2000
LONGEST_WORD = 100


@dataclass(frozen=True, slots=True)
class _Word:
    word: str


async def list_words(conn: Connection) -> list[str]:
    return [row.word for row in await SQL.list_prohibited_words.many(conn, _Word)]


async def replace_words(conn: Connection, actor: Actor, now: datetime, words: Sequence[str]) -> list[str]:
    """Put a list in place of the present one. Errors: Invalid."""
    folded = sorted({fold_text(word) for word in words})
    if len(folded) > MOST_WORDS or not all(1 <= len(word) <= LONGEST_WORD for word in folded):
        raise Invalid(f"Use at most {MOST_WORDS} words of 1 to {LONGEST_WORD} characters.", "words")
    before = await list_words(conn)
    if folded != before:
        await SQL.replace_prohibited_words.execute(conn, {"words": folded, "now": now})
        change = {"added": sorted(set(folded) - set(before)), "removed": sorted(set(before) - set(folded))}
        await record(conn, actor, Entry(now, "prohibited_words.changed", "prohibited_words", after=change))
    return folded


def find_prohibited(text: str, words: Sequence[str]) -> str | None:
    """Return the first word of the list that the text has."""
    if not words:
        return None
    found = _compile(tuple(words)).search(fold_text(text))
    return None if found is None else found[0]


def fold_text(text: str) -> str:
    """Return text as words are compared: one case, one width, single spaces."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(plain.lower().split())


@lru_cache(maxsize=8)
def _compile(words: tuple[str, ...]) -> re.Pattern[str]:
    # Not \b, which would find nothing beside a word that begins or ends with a sign, like "100%".
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")
