"""Which messages made people say STOP: by campaign and by template."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from event_stream_engine.analytics.campaign_progress import list_names
from event_stream_engine.analytics.delivery import list_parts
from event_stream_engine.analytics.rates import Rate
from event_stream_engine.analytics.scope import Scope
from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)
_NO_CAMPAIGN = UUID(int=0)


@dataclass(frozen=True, slots=True)
class OptOutRow:
    """Messages of a campaign or template answered with STOP within 72 h, of those sent; all None: of no campaign."""

    id: UUID | None
    name: str | None
    template: str | None
    rate: Rate


@dataclass(frozen=True, slots=True)
class OptOuts:
    """`stops`: transitions into STOP in the window; `all_messages`: what all messages of the window brought."""

    stops: int
    all_messages: Rate
    campaigns: Sequence[OptOutRow]
    templates: Sequence[OptOutRow]

    @property
    def not_attributed(self) -> int:
        """Return how many transitions no message of the window accounts for."""
        return max(0, self.stops - self.all_messages.numerator)


async def load_opt_outs(conn: Connection, window: Window) -> OptOuts:
    """Attribute STOPs to the messages of a window; most STOPs first."""
    found_parts = await list_parts(conn, Scope(window), "campaign")
    # A campaign that has sent nothing has no rate and no row; a STOP that answers a message not known as sent still counts.
    parts = {UUID(part.name): part.counts for part in found_parts if part.counts.sent}
    names = await list_names(conn, [one for one in parts if one != _NO_CAMPAIGN])
    campaigns = []
    by_template: dict[UUID | None, list[OptOutRow]] = {}
    for campaign_id, counts in parts.items():
        found = names.get(campaign_id)
        row = OptOutRow(
            None if found is None else campaign_id,
            None if found is None else found.campaign,
            None if found is None else found.template,
            Rate(counts.stopped, counts.sent),
        )
        campaigns.append(row)
        by_template.setdefault(None if found is None else found.template_id, []).append(row)
    return OptOuts(
        stops=await SQL.count_stops.value(conn, {"since": window.since, "until": window.until}),
        all_messages=Rate(
            sum(part.counts.stopped for part in found_parts), sum(part.counts.sent for part in found_parts)
        ),
        campaigns=_sort(campaigns),
        templates=_sort(
            [OptOutRow(key, rows[0].template, None, _add_up(rows)) for key, rows in by_template.items()]
        ),
    )


def _add_up(rows: Sequence[OptOutRow]) -> Rate:
    return Rate(sum(row.rate.numerator for row in rows), sum(row.rate.denominator for row in rows))


def _sort(rows: Sequence[OptOutRow]) -> list[OptOutRow]:
    return sorted(rows, key=lambda row: (-row.rate.numerator, -(row.rate.percent or 0), row.name or ""))
