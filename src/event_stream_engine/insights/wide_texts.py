"""Texts that a few characters make UCS-2, so that they take twice the segments: price and throughput count segments.

Only what can be written otherwise: curly quotes, dashes, spaces, pictures. A text in letters that GSM-7 lacks is as it must be.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean, stdev
from typing import Any
from uuid import UUID

from event_stream_engine.campaigns.rendering import (
    Content,
    Placeholder,
    Unsendable,
    parse_template,
    render_content,
)
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.insights.look import Look
from event_stream_engine.insights.recommendation import (
    GAIN_DAYS,
    Action,
    Evidence,
    Examination,
    Interval,
    Recommendation,
)
from event_stream_engine.insights.statistics import t_95
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.messaging.encoding import count_segments, find_foreign_character

SQL = load_queries(__package__)
MOST_SAMPLED = 200
LEAST_SAMPLED = 20
LEAST_SAVED = 0.02  # segments of a message
# What says the same in GSM-7. Apostrophes and dashes come from word processors and telephones, mostly unnoticed.
PLAIN: Mapping[str, str] = {
    "‘": "'", "’": "'", "‚": ",", "‛": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‹": "'", "›": "'", "`": "'", "´": "'",
    "‐": "-", "‑": "-", "‒": "-", "–": "-", "—": "-", "―": "-", "−": "-", "…": "...", "•": "-", "·": "-", "×": "x",
    "\u00a0": " ", "\u2002": " ", "\u2003": " ", "\u2009": " ", "\u200a": " ", "\u202f": " ", "\t": " ",
    "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "", "\u00ad": "", "\ufe0f": "",
}  # fmt: skip
_PICTURES = frozenset({"So", "Sk"})


@dataclass(frozen=True, slots=True)
class Use:
    """A template and the campaigns that were started with it, the newest first."""

    id: UUID
    name: str
    body: str
    campaigns: list[UUID]
    messages: int


@dataclass(frozen=True, slots=True)
class Started:
    id: UUID
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Sampled:
    """What a text for one person is filled with; `body` as the campaign sent it."""

    attributes: dict[str, Any]
    body: str


@dataclass(frozen=True, slots=True)
class Rewriting:
    """A text without what makes it wide. `is_plain`: every character was replaced by one that says the same, none left out."""

    body: str
    replaced: Sequence[str]
    is_plain: bool


async def examine(conn: Connection, look: Look) -> Examination:
    """Advise another way to write the templates that a few characters make wide."""
    uses = await SQL.list_template_uses.many(conn, Use, {"since": look.now - timedelta(days=GAIN_DAYS)})
    facts = []
    for use in uses:
        rewriting = rewrite(use.body)
        if rewriting is not None:
            people = await list_sampled(conn, use.id, look.now - timedelta(days=GAIN_DAYS), look.now)
            advice = advise(use, rewriting, [one.attributes for one in people])
            facts += [advice] if advice is not None else []
    looked_at = f"{len(uses)} SMS templates that were sent in {GAIN_DAYS} days, for characters that double their segments"
    unknown = None if uses else f"No SMS template was sent in {GAIN_DAYS} days."
    return Examination("wide_text", looked_at, facts=facts, unknown=unknown)


async def list_sampled(
    conn: Connection, template_id: UUID, since: datetime, until: datetime
) -> list[Sampled]:
    """Return people who were written to with a template in a window, drawn at random from its newest campaigns."""
    asked = {"template_id": template_id, "since": since, "until": until}
    people: list[Sampled] = []
    for campaign in await SQL.list_started.many(conn, Started, asked):
        if len(people) >= MOST_SAMPLED:
            break
        first = int(campaign.started_at.timestamp() * 1000) << 80
        people += await SQL.list_sampled_attributes.many(
            conn,
            Sampled,
            {
                "campaign_id": campaign.id,
                "first": UUID(int=first),
                "last": UUID(int=first + (1 << 80) - 1),
                "most": MOST_SAMPLED - len(people),
            },
        )
    return people


def rewrite(body: str) -> Rewriting | None:
    """Return a template's body without what makes it wide; None where it is not wide, or in letters that GSM-7 lacks."""
    foreign = list(dict.fromkeys(one for text in _list_literals(body) for one in text if _is_foreign(one)))
    if not foreign or not all(_can_go(one) for one in foreign):
        return None
    written = "".join(PLAIN.get(one, "" if _is_foreign(one) else one) for one in body)
    return Rewriting(written, foreign, all(one in PLAIN for one in foreign))


def advise(use: Use, rewriting: Rewriting, people: Sequence[Mapping[str, Any]]) -> Recommendation | None:
    """Return the advice for a template from what it costs for some of its people, None where nothing is saved."""
    pairs = [
        (now, then)
        for attributes in people
        if (now := measure(use.body, attributes)) and (then := measure(rewriting.body, attributes))
    ]
    saved = [float(now - then) for now, then in pairs]
    if len(saved) < LEAST_SAMPLED or fmean(saved) < LEAST_SAVED:
        return None
    reach = t_95(len(saved) - 1) * stdev(saved) / len(saved) ** 0.5
    mean, segments = fmean(saved), round(fmean(saved) * use.messages)
    characters = ", ".join(f"“{one}” ({name_character(one)})" for one in rewriting.replaced[:5])
    more = f" and {len(rewriting.replaced) - 5} others" if len(rewriting.replaced) > 5 else ""
    is_or_are, this = ("is", "With it") if len(rewriting.replaced) == 1 else ("are", "With them")
    how = "written plainly" if rewriting.is_plain else "left out"
    return Recommendation(
        key=f"wide_text:{use.id}",
        kind="wide_text",
        subject=f"template:{use.id}",
        title=f"“{use.name}” takes more segments than it needs, because of {_count(len(rewriting.replaced), 'character')}",
        text=(
            f"{characters}{more} {is_or_are} not in the alphabet of SMS, so each text goes out with half as many characters to a segment."
            f" {this} {how}, {use.messages:,} messages in {GAIN_DAYS} days would have taken {segments:,} segments less. Measured on"
            f" the texts of {len(saved):,} of its people, names and all."
        ),
        evidence=_gather(use, rewriting, pairs),
        sample_size=len(saved),
        sample_unit="texts",
        address=f"/campaigns/templates/{use.id}",
        effect=round(-mean, 2),
        interval=Interval(round(-mean - reach, 2), round(-mean + reach, 2), "segments"),
        gain_unknown=f"It saves {segments:,} segments in {GAIN_DAYS} days, not messages: price and throughput count segments.",
        action=Action("change_template", "Write it plainly", {"template_id": str(use.id)})
        if rewriting.is_plain
        else None,
    )


def measure(body: str, attributes: Mapping[str, Any]) -> int | None:
    """Return the segments of a template's text for one person, None where none would be sent."""
    try:
        return count_segments(render_content(Content(body, None, {}), "", attributes).body)
    except (Unsendable, Invalid):
        return None


def is_wide(body: str, attributes: Mapping[str, Any]) -> bool | None:
    """Tell whether a template's text for one person is UCS-2, None where none would be sent."""
    try:
        return (
            find_foreign_character(render_content(Content(body, None, {}), "", attributes).body) is not None
        )
    except (Unsendable, Invalid):
        return None


def name_character(character: str) -> str:
    """Return what a character is called, as people who look for it may know it."""
    return unicodedata.name(character, f"U+{ord(character):04X}").lower()


def _gather(use: Use, rewriting: Rewriting, pairs: Sequence[tuple[int, int]]) -> Evidence:
    rows = [
        (f"{name_character(one)} ({use.body.count(one)}×)", one.strip(), PLAIN.get(one, ""), None, None)
        for one in rewriting.replaced
    ]
    texts = (
        "segments of a text, mean", "", "",
        round(fmean(now for now, _ in pairs), 2), round(fmean(then for _, then in pairs), 2),
    )  # fmt: skip
    return Evidence(("Character", "as it is", "plainly", "Now", "Then"), (*rows, texts))


def _list_literals(body: str) -> list[str]:
    """Return the texts that everybody gets; what fills a placeholder is theirs."""
    return [part.default or "" if isinstance(part, Placeholder) else part for part in parse_template(body)]


def _is_foreign(character: str) -> bool:
    return find_foreign_character(character) is not None


def _can_go(character: str) -> bool:
    return character in PLAIN or unicodedata.category(character) in _PICTURES


def _count(number: int, what: str) -> str:
    return f"one {what}" if number == 1 else f"{number} {what}s"
