"""Which campaigns, segments and templates arrive best: the document's campaign analysis, from roll-ups."""

from dataclasses import dataclass
from uuid import UUID

from event_stream_engine.infra.database import Connection
from event_stream_engine.infra.queries import load_queries
from event_stream_engine.kernel.windows import Window

SQL = load_queries(__package__)


@dataclass(frozen=True, slots=True)
class EffectivenessRow:
    """`kind`: campaign, segment or template. `messages_sent` as the document counts it: all messages, also denied ones."""

    kind: str
    id: UUID
    name: str
    segment: str | None
    template: str | None
    campaigns: int
    messages_sent: int
    delivered: int
    delivery_rate: float


async def list_effectiveness(conn: Connection, window: Window) -> dict[str, list[EffectivenessRow]]:
    """Return campaigns made in a window, and their segments and templates, by kind, best rate first.

    Those without messages are left out, as in the document.
    """
    asked = {"since": window.since, "until": window.until}
    rows = await SQL.list_effectiveness.many(conn, EffectivenessRow, asked)
    return {kind: [row for row in rows if row.kind == kind] for kind in ("campaign", "segment", "template")}
