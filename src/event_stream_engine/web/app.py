"""The web process composed: every route, what it shares, and who may use it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

from fastapi import Depends, FastAPI
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from event_stream_engine.access.roles import Role
from event_stream_engine.infra import tracing
from event_stream_engine.infra.database import open_pool
from event_stream_engine.infra.settings import Settings
from event_stream_engine.ingest import canary
from event_stream_engine.ingest.intake import Intake
from event_stream_engine.kernel.clock import Clock
from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.monitoring import processes
from event_stream_engine.monitoring.feed import Feed
from event_stream_engine.monitoring.readings import Readout
from event_stream_engine.monitoring.resources import run_sampler
from event_stream_engine.monitoring.watch import HealthWatch
from event_stream_engine.stream.spool import Spool
from event_stream_engine.web import chart_bundle, exposition, probes
from event_stream_engine.web.api import (
    alert_rules,
    alerts,
    analytics,
    audience,
    campaign_figures,
    campaigns,
    capacity,
    compliance,
    database,
    drain,
    effectiveness,
    exports,
    feed,
    imports,
    inbound,
    incident_policy,
    incident_reports,
    incidents,
    messages,
    metrics,
    monitoring,
    notifications,
    queries,
    query_schedules,
    recommendations,
    replies,
    report_documents,
    reports,
    resources,
    rules,
    saved_queries,
    segments,
    silences,
    subscriptions,
    templates,
    users,
)
from event_stream_engine.web.auth import require_role
from event_stream_engine.web.bodies import BodyLimits
from event_stream_engine.web.errors import answer_errors
from event_stream_engine.web.feed_words import write_step
from event_stream_engine.web.middleware import protect
from event_stream_engine.web.pages import sign_in
from event_stream_engine.web.pages.banner import load_firing
from event_stream_engine.web.pages.rooms import PAGES
from event_stream_engine.web.render import STATIC_DIR, StaticAssets
from event_stream_engine.web.request_trails import AccessLog, RequestSpans
from event_stream_engine.web.requests import MeasuredRequests
from event_stream_engine.web.resources import Resources
from event_stream_engine.web.vitals import Meters, Vitals
from event_stream_engine.web.webhooks import Webhooks
from event_stream_engine.workbench.readers import open_readers

_logger = logging.getLogger(__name__)
POOL_CONNECTIONS = 10
UPLOADS = ("/api/v1/imports",)
QUERY_MS = 10_000  # a page that takes longer has lost its reader, and must not hold a connection


def build_app(settings: Settings, database_url: str, clock: Clock) -> ASGIApp:
    """Compose the application of one web process; its resources live as long as its lifespan."""
    webhooks = _Late()
    app = compose_routes()
    meters = Meters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        started_at = clock.now()
        process = processes.Process(uuid4(), "web", started_at, started_at, 0)
        spool = await asyncio.to_thread(Spool, settings.data_dir / "spool", settings.spool_limit_bytes)
        intake = Intake(database_url, spool, process.id, clock)
        async with open_pool(
            database_url, "ese-web", largest=POOL_CONNECTIONS, statement_timeout_ms=QUERY_MS
        ) as pool:
            live = Feed(pool, write_step)
            watch = HealthWatch(database_url, clock)
            readers = open_readers(settings, database_url)
            shared = Resources(settings, pool, clock, live, Readout(pool, clock), watch, intake, readers)
            app.state.resources = shared
            webhooks.app = Webhooks(settings, intake, clock, meters.stored)
            vitals = Vitals(process, pool, clock, intake, meters)
            taking_in = asyncio.create_task(intake.run())
            taking_in.add_done_callback(_end_process_on_failure)
            tasks = [
                taking_in,
                asyncio.create_task(live.run()),
                asyncio.create_task(watch.run()),
                asyncio.create_task(run_sampler(settings, database_url, process, clock, asyncio.Event())),
                asyncio.create_task(vitals.run()),
            ]
            if settings.deadman_url is not None:
                tasks.append(asyncio.create_task(_send_canaries(intake, clock)))
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await vitals.end()
                spool.close()

    app.router.lifespan_context = lifespan
    limited = BodyLimits(app, UPLOADS)
    logged = AccessLog(limited) if settings.log_format == "json" else limited
    split = _Split(webhooks, protect(logged, settings.public_url))
    return MeasuredRequests(RequestSpans(split) if tracing.is_on() else split, meters.requests)


def compose_routes() -> FastAPI:
    """Compose every route for people and programs with the role it needs, still without resources."""
    app = FastAPI(
        title="Event Stream Engine", version="0.1.0", docs_url=None, redoc_url=None, openapi_url=None
    )
    answer_errors(app)
    may_read = [Depends(require_role(Role.viewer))]
    figures = (
        analytics,
        audience,
        inbound,
        campaign_figures,
        effectiveness,
        compliance,
        monitoring,
        database,
        resources,
        capacity,
        drain,
    )
    # What has a name before what has an id.
    about_incidents = (incident_policy, incidents, incident_reports)
    about_queries = (queries, query_schedules, saved_queries)
    for api in (
        *figures,
        feed,
        messages,
        metrics,
        users,
        segments,
        imports,
        exports,
        templates,
        campaigns,
        rules,
        replies,
        alert_rules,
        alerts,
        silences,
        *about_incidents,
        notifications,
        reports,
        recommendations,
        report_documents,
        subscriptions,
        *about_queries,
    ):
        app.include_router(api.router, prefix="/api/v1", dependencies=may_read)
    app.get("/api/v1/openapi.json", dependencies=may_read, include_in_schema=False)(app.openapi)
    for page in PAGES:
        app.include_router(page, dependencies=[*may_read, Depends(load_firing)])
    app.include_router(exports.by_link)
    app.include_router(exposition.router)
    app.include_router(sign_in.router)
    app.include_router(chart_bundle.router)
    app.router.routes += [
        Route("/", lambda _: RedirectResponse("/monitoring")),
        Route("/healthz", probes.show_alive),
        Route("/readyz", probes.show_ready),
        Mount("/static", StaticAssets(directory=STATIC_DIR)),
    ]
    return app


def _end_process_on_failure(task: "asyncio.Task[None]") -> None:
    """A process that stores nothing must not keep the webhooks from its successor."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _logger.critical("the intake has failed; this process ends", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


async def _send_canaries(intake: Intake, clock: Clock) -> None:
    """Send a canary now and at the beginning of each minute; one that is not taken is missed, which is its purpose."""
    while True:
        with suppress(Unavailable, Invalid):
            await intake.accept(canary.make_canary(clock.now()))
        await asyncio.sleep(canary.seconds_to_next(clock.now()))


class _Late:
    """Stands for an application that the lifespan makes."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class _Split:
    """Sends webhooks around everything that is only for people and programs: middleware, router, sessions."""

    def __init__(self, webhooks: ASGIApp, rest: ASGIApp) -> None:
        self._webhooks = webhooks
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_webhook = scope["type"] == "http" and scope["path"].startswith("/webhooks/")
        await (self._webhooks if is_webhook else self._rest)(scope, receive, send)
