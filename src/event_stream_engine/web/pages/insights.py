"""`/insights`: what should we change, on what grounds, and what came of what was changed?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.audience.references import make_reference
from event_stream_engine.audit.trails import list_actor_names
from event_stream_engine.infra.database import snapshot, transaction
from event_stream_engine.insights import following
from event_stream_engine.insights.actions import UNDOABLE
from event_stream_engine.insights.failed_messages import Asked, list_failed
from event_stream_engine.insights.following import STATES, Followed
from event_stream_engine.insights.look import DAYS
from event_stream_engine.insights.recommendation import Cell, Recommendation
from event_stream_engine.insights.recommendations import KINDS
from event_stream_engine.insights.unreachable import list_shown
from event_stream_engine.kernel.clock import format_instant, parse_instant
from event_stream_engine.kernel.formats import format_number
from event_stream_engine.messaging.error_codes import describe_error_code
from event_stream_engine.web.api.recommendations import look_of
from event_stream_engine.web.auth import actor_of
from event_stream_engine.web.cursors import read_cursor, write_cursor
from event_stream_engine.web.effect_marks import EffectMark, draw_effect
from event_stream_engine.web.render import may_write, render
from event_stream_engine.web.resources import resources_of

router = APIRouter(prefix="/insights", include_in_schema=False)
PAGE_LENGTH = 50
KIND_NAMES = {kind.slug: kind.name for kind in KINDS}
# What a button does, said before it does it.
CONSEQUENCES = {
    "suppress_numbers": "From now on no campaign writes to them on this channel. Who writes to us can be written to again at once."
    " Each is entered into the audit trail, and all of it can be taken back here.",
    "change_template": "The template’s text is changed as the evidence shows. Campaigns that have started keep theirs.",
    "lower_rate": "It holds for campaigns of this sender that run, are scheduled or are drafts, if they are faster.",
    "": "Nothing is changed from here. What comes of it is measured for four weeks from now on.",
}


@dataclass(frozen=True, slots=True)
class AdviceRow:
    """A recommendation as a page shows it. `by`: who decided."""

    followed: Followed
    advice: Recommendation
    kind: str
    mark: EffectMark | None
    outcome_mark: EffectMark | None
    consequence: str
    by: str | None

    @property
    def can_reopen(self) -> bool:
        """Tell whether the decision can be taken back from here."""
        is_decided = self.followed.state in ("taken", "dismissed") and self.followed.ended_at is None
        action = self.advice.action if self.followed.state == "taken" else None
        return is_decided and (action is None or action.name in UNDOABLE)


@router.get("")
async def show_insights(request: Request, state: str = "open") -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn, snapshot(conn):
        found = await following.list_followed(conn, STATES)
        looks = await following.list_last_looks(conn)
        actors = await _name_actors(conn, found)
    rows = [_describe(one, actors) for one in found]
    counts = {name: sum(row.followed.state == name for row in rows) for name in STATES}
    return render(
        request,
        "insights.html",
        room="insights",
        tab="/insights",
        rows=[row for row in rows if row.followed.state == state],
        chosen=state if state in STATES else "open",
        counts=counts,
        looks=[(KIND_NAMES.get(one.kind, one.kind), one) for one in looks],
        looked_at=max((one.looked_at for one in looks), default=None),
        compared=sum(one.compared for one in looks),
        as_of=resources.clock.now(),
        zone=resources.settings.timezone,
        may_write=may_write(request),
    )


@router.get("/recommendations/{recommendation_id}")
async def show_recommendation(request: Request, recommendation_id: UUID) -> Response:
    resources = resources_of(request)
    async with resources.pool.connection() as conn:
        async with transaction(conn):
            await following.mark_seen(conn, actor_of(request), recommendation_id, resources.clock.now())
        async with snapshot(conn):
            followed = await following.load_followed(conn, recommendation_id)
            actors = await _name_actors(conn, [followed])
    row = _describe(followed, actors)
    return render(
        request,
        "recommendation.html",
        room="insights",
        tab="/insights",
        row=row,
        columns=_list_columns(row.advice),
        cells=[[_write_cell(cell) for cell in cells] for cells in row.advice.evidence.rows],
        seen_by=actors.get(followed.seen_by or "", followed.seen_by),
        as_of=resources.clock.now(),
        zone=resources.settings.timezone,
        may_write=may_write(request),
    )


@router.get("/failures")
async def show_failures(
    request: Request,
    *,
    code: Annotated[list[int] | None, Query()] = None,
    sender: str | None = None,
    country: str | None = None,
    channel: str | None = None,
    cursor: str | None = None,
) -> Response:
    """The failed messages behind a recommendation."""
    look = look_of(request)
    asked = Asked(look.window, code or (), sender, country, channel)
    before = read_cursor(cursor, parse_instant, UUID) if cursor else None
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        place = (before[0], before[1]) if before else None
        found = await list_failed(conn, asked, PAGE_LENGTH + 1, place)
    shown = found[:PAGE_LENGTH]
    last = shown[-1] if len(found) > PAGE_LENGTH else None
    first = request.url.remove_query_params("cursor")
    following_page = (
        first.include_query_params(cursor=write_cursor(format_instant(last.cohort_at), last.id))
        if last
        else None
    )
    return render(
        request,
        "insights_failures.html",
        room="insights",
        tab="/insights",
        modules=["story.js"],
        messages=[
            (one, make_reference(look.secret_key, one.recipient_phone), describe_error_code(one.error_code))
            for one in shown
        ],
        asked=asked,
        days=DAYS,
        next_href=f"{following_page.path}?{following_page.query}" if following_page else None,
        first_href=f"{first.path}?{first.query}" if cursor else None,
        zone=look.zone,
    )


@router.get("/unreachable/{channel}")
async def show_unreachable(request: Request, channel: str) -> Response:
    """The people behind the advice to suppress, as they are at this moment."""
    look = look_of(request)
    async with resources_of(request).pool.connection() as conn, snapshot(conn):
        found = await list_shown(conn, look, channel, 10 * PAGE_LENGTH)
    return render(
        request,
        "insights_unreachable.html",
        room="insights",
        tab="/insights",
        modules=["story.js"],
        people=[
            (one, make_reference(look.secret_key, one.phone), describe_error_code(one.error_code))
            for one in found
        ],
        channel=channel,
        most=10 * PAGE_LENGTH,
        days=DAYS,
        zone=look.zone,
    )


async def _name_actors(conn: Any, found: Sequence[Followed]) -> dict[str, str]:
    actors = {one for row in found for one in (row.decided_by, row.seen_by) if one}
    return dict(await list_actor_names(conn, sorted(actors)))


def _describe(followed: Followed, actors: dict[str, str]) -> AdviceRow:
    advice, outcome = followed.recommendation, followed.outcome or {}
    interval = advice.interval
    by = followed.decided_by
    return AdviceRow(
        followed,
        advice,
        KIND_NAMES.get(followed.kind, followed.kind),
        draw_effect(advice.effect, interval.low, interval.high) if interval else None,
        draw_effect(outcome.get("difference"), outcome.get("low"), outcome.get("high")),
        CONSEQUENCES[advice.action.name if advice.action else ""],
        actors.get(by, by) if by else None,
    )


def _list_columns(advice: Recommendation) -> list[tuple[str, str]]:
    """Return title and kind of the columns: numbers stand to the right."""
    columns = []
    for place, title in enumerate(advice.evidence.columns):
        cells = [row[place] for row in advice.evidence.rows if row[place] not in (None, "")]
        is_number = bool(cells) and all(isinstance(cell, int | float) for cell in cells) and place > 0
        columns.append((title, "number" if is_number else "text"))
    return columns


def _write_cell(cell: Cell) -> tuple[str, Cell]:
    if cell is None:
        return "", None
    return (cell if isinstance(cell, str) else format_number(cell)), cell
