"""What every request handler may use: made once at start, found at `app.state.resources`."""

from dataclasses import dataclass, field

from starlette.requests import Request

from event_stream_engine.infra.database import Pool
from event_stream_engine.infra.settings import Settings
from event_stream_engine.ingest.intake import Intake
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.monitoring.feed import Feed
from event_stream_engine.monitoring.readings import Readout
from event_stream_engine.monitoring.watch import HealthWatch
from event_stream_engine.web.firing import Firing
from event_stream_engine.workbench.readers import Readers


@dataclass(frozen=True, slots=True)
class Resources:
    settings: Settings
    pool: Pool
    clock: Clock
    feed: Feed
    readout: Readout
    watch: HealthWatch
    intake: Intake
    readers: Readers
    firing: Firing = field(default_factory=Firing)


def resources_of(request: Request) -> Resources:
    resources: Resources = request.app.state.resources
    return resources
