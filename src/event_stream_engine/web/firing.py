"""What fires, on every page: one small query a process every few seconds, however many look."""

import time
from dataclasses import dataclass, field

from event_stream_engine.alerting.episodes import Episode, list_open
from event_stream_engine.alerting.rules import SEVERITIES
from event_stream_engine.infra.database import Pool

HOLDS_SECONDS = 3.0


@dataclass(slots=True)
class Firing:
    """What was found last, and until when it is good enough."""

    episodes: list[Episode] = field(default_factory=list)
    good_until: float = 0.0

    async def load(self, pool: Pool) -> list[Episode]:
        if time.monotonic() >= self.good_until:
            async with pool.connection() as conn:
                self.episodes = await list_open(conn)
            self.good_until = time.monotonic() + HOLDS_SECONDS
        return self.episodes

    def forget(self) -> None:
        """Have the next one who looks see what has just been changed."""
        self.good_until = 0.0


def choose_loud(episodes: list[Episode]) -> list[Episode]:
    """Return the alerts that ask for somebody: not acknowledged, not silenced, following from no other."""
    loud = [one for one in episodes if one.state == "firing" and one.held_back is None]
    return sorted(loud, key=lambda one: SEVERITIES.index(one.severity))
