"""Reading a person's SQL before the server does: one SELECT, its parameters, and every name in it.

The login may only read, which the database sees to. What a role cannot be kept from is seen to here: functions that take
locks, wait, give out transaction ids or run SQL of their own, and the system's catalogue. Names are all that matters for
that, and SQL can write a name in three ways: plain, "quoted" and U&"escaped"; the last one is refused, and with it strings
with escapes, whose end is hard to tell (a string on the next line continues E'…' and takes on its escapes).
"""

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from event_stream_engine.kernel.errors import Invalid

LONGEST_LETTERS = 20_000
FIRST_WORDS = ("select", "with", "values", "table")
# Of what begins with pg_: our two views, the schema's name, and what only formats a value.
ALLOWED_SYSTEM_NAMES = frozenset(
    ["pg_catalog", "pg_stat_statements", "pg_stat_user_indexes", "pg_size_pretty", "pg_typeof"]
)
# Volatile by PostgreSQL's marks, and harmless: they differ from row to row, or choose rows (system, bernoulli).
HARMLESS_FUNCTIONS = (
    "array_sample",
    "array_shuffle",
    "bernoulli",
    "clock_timestamp",
    "gen_random_uuid",
    "pg_stat_statements",  # the view of ours; the function of that name is in no schema that is looked up
    "random",
    "random_normal",
    "system",
    "timeofday",
    "uuidv4",
    "uuidv7",
)
# Not volatile by its marks, and harmful: an id of a transaction holds up the log's readers until it ends; `…_to_xml` runs
# SQL of its own, and reads whole tables into memory.
_HARMFUL = re.compile(r"txid_.*|.*_to_xml(schema)?|.*_to_xml_and_xmlschema|lo_.*|dblink.*")
_TOKEN = re.compile(
    r"""(?P<blank>\s+|--[^\n\r]*)
    |(?P<comment>/\*)
    |(?P<escaped>[uU]&"|[uU]&'|[eE]')
    |(?P<string>(?:[bBxXnN])?'(?:[^']|'')*')
    |(?P<dollars>\$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][\w\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$)
    |(?P<position>\$\d+)
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<word>[A-Za-z_\x80-\U0010ffff][\w$\x80-\U0010ffff]*)
    |(?P<cast>::|:=)
    |(?P<parameter>:[A-Za-z_][A-Za-z0-9_]*)
    |(?P<open>\()
    |(?P<close>\))
    |(?P<end>;)
    |(?P<other>\d+|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


class Refused(Invalid):
    """This SQL is not run, or was stopped. `position` is the place in the text, from 0, when there is one."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message, "sql")
        self.position = position


def word_place(text: str, position: int) -> str:
    """Say where in a text a place is, as the page says it: `Line 2, column 5`."""
    before = text[:position]
    return f"Line {before.count(chr(10)) + 1}, column {position - before.rfind(chr(10))}"


@dataclass(frozen=True, slots=True)
class Statement:
    """`text` is for the server: `$1` in the place of `:name`, without the semicolon at its end. `names`: each with its place."""

    text: str
    parameters: tuple[str, ...]
    names: Mapping[str, int]
    _tokens: tuple["_Token", ...]
    _moved: tuple[
        tuple[int, int], ...
    ]  # places in `text` and in the person's, from which on the two differ alike

    def find_place(self, position: int) -> int:
        """Return where in the person's text a place of `text` is."""
        there, here = self._moved[bisect_right(self._moved, (position, math.inf)) - 1]
        return here + position - there

    def write_in(self, literals: Sequence[str]) -> "Statement":
        """Return the statement with a literal of SQL in the place of each parameter."""
        return _assemble(self._tokens, self.parameters, self.names, literals)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


def read_statement(text: str) -> Statement:
    """Read one SELECT. Errors: Refused saying what is not allowed, and where."""
    if len(text) > LONGEST_LETTERS:
        raise Refused(f"At most {LONGEST_LETTERS:,} characters are taken, this has {len(text):,}.")
    if "\0" in text:
        raise Refused("There is a NUL in this text. Take it out.", text.index("\0"))
    tokens = list(_read_tokens(text))
    words = [token for token in tokens if token.kind != "blank"]
    _check_shape(words, len(text))
    names: dict[str, int] = {}
    parameters: list[str] = []
    for token in words:
        if token.kind in ("word", "quoted"):
            names.setdefault(_check_name(token), token.place)
        elif token.kind == "parameter" and token.text[1:] not in parameters:
            parameters.append(token.text[1:])
        elif token.kind == "position":
            raise Refused("Write parameters as :name, not as $1.", token.place)
        elif token.text == "$":
            # Before a parameter it would begin a string, of which we would know nothing: $:a … $:a is $$1 … $$1.
            raise Refused("This $ belongs to nothing.", token.place)
    positions = [f"${number + 1}" for number in range(len(parameters))]
    return _assemble(tuple(tokens), tuple(parameters), names, positions)


def _assemble(
    tokens: tuple[_Token, ...], parameters: tuple[str, ...], names: Mapping[str, int], values: Sequence[str]
) -> Statement:
    pieces: list[str] = []
    moved, length = [(0, 0)], 0
    for token in tokens:
        piece = token.text
        if token.kind == "parameter":
            piece = values[parameters.index(piece[1:])]
        elif token.kind == "end":
            piece = ""
        pieces.append(piece)
        length += len(piece)
        if len(piece) != len(token.text):
            moved.append((length, token.place + len(token.text)))
    return Statement("".join(pieces), parameters, names, tokens, tuple(moved))


def _check_shape(words: Sequence[_Token], length: int) -> None:
    """See that there is one query, whole, so that it can stand in parentheses."""
    first = next((token for token in words if token.kind not in ("open", "end")), None)
    if first is None:
        raise Refused("There is no query here. Write one that begins with SELECT or WITH.")
    if first.text.lower() not in FIRST_WORDS:
        shown = first.text if len(first.text) <= 30 else f"{first.text[:30]}…"
        raise Refused(
            f"Only a query can be run: SELECT, WITH, VALUES or TABLE. This begins with {shown}.", first.place
        )
    depth = 0
    for number, token in enumerate(words):
        depth += (token.kind == "open") - (token.kind == "close")
        if depth < 0:
            raise Refused("This parenthesis closes none.", token.place)
        if token.kind == "end" and number + 1 < len(words):
            raise Refused("One statement at a time: there is something after this semicolon.", token.place)
    if depth:
        raise Refused("A parenthesis is not closed.", length)


def _read_tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        assert found is not None  # noqa: S101 - `other` takes any character
        kind, end = str(found.lastgroup), found.end()
        if kind == "tag":
            kind = "dollars"
        if kind == "comment":
            kind, end = "blank", _find_comment_end(text, place)
        elif kind == "escaped":
            raise Refused(
                "Names and strings with escapes, E'…' and U&\"…\", are not taken. Write the letters, or chr(10).",
                place,
            )
        elif kind == "other" and text[place] in "'\"":
            raise Refused("This quotation mark has no end.", place)
        yield _Token(kind, text[place:end], place)
        place = end


def _find_comment_end(text: str, place: int) -> int:
    """Comments of PostgreSQL nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, place):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    raise Refused("This comment has no end.", place)


def _check_name(token: _Token) -> str:
    is_plain = token.kind == "word"
    name = token.text.lower() if is_plain else token.text[1:-1].replace('""', '"')
    if name.startswith("pg_") and name not in ALLOWED_SYSTEM_NAMES:
        raise Refused(f"{name} is of the system and not for queries here.", token.place)
    if _HARMFUL.fullmatch(name):
        raise Refused(f"{name} may not be used in queries here.", token.place)
    return name
