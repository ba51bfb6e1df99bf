"""The documents that are made from the code: settings, API, metrics, instruments. A test holds the files to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from event_stream_engine.access.roles import Role
from event_stream_engine.analytics.catalogue import METRICS, RULES, SUBJECTS
from event_stream_engine.analytics.metric import Metric, Note
from event_stream_engine.cli.session import out
from event_stream_engine.infra.settings import SETTINGS, Setting
from event_stream_engine.monitoring import instruments
from event_stream_engine.web.app import compose_routes
from event_stream_engine.web.auth import require_role

_MADE_BY = "<!-- Made by `ese docs` from {source}; change it there. -->\n\n"

_CONFIGURATION = """# Configuration

Everything is set by environment variables. They are read once at start; all faults are reported together, and a
variable that begins with `ESE_` and is not in this list is a fault too, so a typing error does not go unnoticed.
A setting marked as secret may also come from a file: set the name with `_FILE` to its path, for example
`ESE_SECRET_KEY_FILE=/run/secrets/ese-key`. Set one of the two, not both. An empty value counts as not set.

| variable | default | meaning |
|---|---|---|
"""

_API = """# HTTP API

Programs send an API key as `Authorization: Bearer <key>`; make one with `ese keys add NAME --role viewer`. The console
uses the same endpoints with its session cookie. The roles are metrics, viewer, operator and admin; each may do all that
the ones before it may. metrics, for API keys alone, may read `/metrics` and nothing else.

Answers are JSON. Instants are ISO 8601 in UTC, percentages run from 0 to 100. A figure that cannot be known is `null`,
and the object `unknown` names it with the reason. What the figures mean is in [metrics.md](metrics.md). A parameter that
an endpoint does not know is refused, where ignoring it would give a wrong figure.

Errors are problem JSON (RFC 9457) with `title`, `status`, `detail`, `instance` and `request_id`; `field` names a wrong
parameter.

The addresses for Twilio are in [events.md](events.md), the probes `/healthz` and `/readyz` in
[operations/monitoring.md](operations/monitoring.md).
"""

_METRICS = """# Metrics

What each figure means, the same on every page, in every answer of the API and in every report. The console shows it at
`/definitions` and behind the “?” of a figure, `GET /api/v1/metrics` as JSON.

In a path, `*` stands for any key or element; an element of a list that has a slug is named by it.

"""

_PROMETHEUS = """# Instruments

What `GET /metrics` exposes to Prometheus, and the exporter to OpenTelemetry; how to set them up is in
[operations/monitoring.md](operations/monitoring.md#prometheus). What the figures mean is in [metrics.md](metrics.md).

- Everything is read from the database, so any web process answers for the whole engine, all its processes and hosts,
  and nothing is per process. A reading is at most two seconds old.
- A **counter** never falls. It counts from the version on that brought it, over all restarts; only what PostgreSQL
  itself counts begins anew when its statistics are reset.
- A **gauge** tells how things are now, and may fall.
- A **histogram** is made of a DDSketch with a relative error of 1 %: what lies within 1 % of a bound may be counted on
  its other side. Sums and counts are exact.
- There is no label for a campaign, a number or a person: their figures are in the API.

OpenTelemetry has the same names without `_total`.
"""


def write_documents(folder: Path) -> None:
    """Write every document anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, render in DOCUMENTS.items():
        (folder / name).write_text(render(), "utf-8")
        out.print(f"{folder / name}", highlight=False)


def render_configuration() -> str:
    rows = [
        f"| `{setting.name}` | {_describe_default(setting)} | {_describe(setting)} |\n"
        for setting in SETTINGS
    ]
    return _MADE_BY.format(source="`SETTINGS` in infra/settings.py") + _CONFIGURATION + "".join(rows)


def _describe_default(setting: Setting) -> str:
    return "" if setting.default is None else f"`{setting.default}`"


def _describe(setting: Setting) -> str:
    return (
        f"{setting.meaning} Secret: `{setting.name}_FILE` works too." if setting.secret else setting.meaning
    )


def render_api() -> str:
    app = compose_routes()
    roles = _find_roles(app)
    parts = [_MADE_BY.format(source="the routes in web/api"), _API]
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            role = roles[method.upper(), path]
            parts.append(
                f"\n## {method.upper()} {path}\n\n{operation['description']}\n\nRole: {role.value}.\n"
            )
            parts += _describe_parameters(operation.get("parameters", []))
            parts += _list_figures(path) if method == "get" else ()
    return "".join(parts)


def _describe_parameters(parameters: list[Mapping[str, Any]]) -> Iterator[str]:
    if not parameters:
        return
    yield "\n| parameter | in | default | meaning |\n|---|---|---|---|\n"
    for parameter in parameters:
        schema = parameter["schema"]
        default = f"`{schema['default']}`" if "default" in schema else ""
        limits = f"{schema['minimum']} to {schema['maximum']}" if "maximum" in schema else ""
        meaning = ", ".join(text for text in (parameter.get("description", ""), limits) if text)
        yield f"| `{parameter['name']}` | {parameter['in']} | {default} | {meaning} |\n"


def _list_figures(path: str) -> Iterator[str]:
    """Link to what the figures of an endpoint mean."""
    answered = [
        f"[{metric.name}](metrics.md#{metric.slug})"
        for metric in METRICS.values()
        if any(answer.endpoint == path for answer in metric.answers)
    ]
    if answered:
        yield f"\nFigures: {', '.join(answered)}.\n"


def render_prometheus() -> str:
    parts = [_MADE_BY.format(source="`SUBJECTS` in monitoring/instruments.py"), _PROMETHEUS]
    for subject in instruments.SUBJECTS:
        parts.append(f"\n## {subject.name}\n\n| name | kind | labels | meaning |\n|---|---|---|---|\n")
        parts += map(_describe_instrument, subject.instruments)
    return "".join(parts)


def _describe_instrument(instrument: instruments.Instrument) -> str:
    labels = ", ".join(f"`{label}`" for label in instrument.labels)
    bounds = (
        f" Bounds: {', '.join(f'{bound:g}' for bound in instrument.bounds)} s." if instrument.bounds else ""
    )
    return f"| `{instrument.name}` | {instrument.kind} | {labels} | {instrument.help}{bounds} |\n"


def render_metrics() -> str:
    parts = [_MADE_BY.format(source="analytics/catalogue.py"), _METRICS, *_describe_notes(RULES)]
    for subject in SUBJECTS:
        parts += [f"\n## {subject.name}\n\n{subject.intro}\n"]
        parts += ["\n", *_describe_notes(subject.notes)] if subject.notes else []
        parts += map(_describe_metric, subject.metrics)
    return "".join(parts)


def _describe_notes(notes: Iterable[Note]) -> Iterator[str]:
    return (f"- **{note.term}**: {note.text}\n" for note in notes)


def _describe_metric(metric: Metric) -> str:
    answers = "; ".join(f"`{answer.endpoint}` → `{answer.path}`" for answer in metric.answers)
    facts = (
        ("n", metric.numerator),
        ("N", metric.denominator),
        ("Unit", metric.unit),
        ("Window", metric.window),
        ("Fresh", metric.freshness),
        ("Reads", ", ".join(f"`{source}`" for source in metric.reads)),
        ("Answered", answers),
        ("In the document", metric.section),
    )
    lines = "".join(f"- {term}: {text}\n" for term, text in facts if text)
    meaning = f"{metric.formula}. {metric.note}".strip()
    return f'\n<a id="{metric.slug}"></a>\n### {metric.name}\n\n{meaning[0].upper()}{meaning[1:]}\n\n{lines}'


def _find_roles(app: FastAPI) -> dict[tuple[str, str], Role]:
    """Return the role that each route needs, by method and path; a route that needs none is left out."""
    checks = {require_role(role): role for role in Role}
    roles: dict[tuple[str, str], Role] = {}
    for route in iter_route_contexts(app.routes):
        needed = [checks[call] for call in _list_calls(getattr(route, "dependant", None)) if call in checks]
        for method in route.methods or () if needed else ():
            roles[method, str(route.path)] = max(needed)
    return roles


def _list_calls(dependant: Dependant | None) -> Iterator[Any]:
    for needed in dependant.dependencies if dependant else ():
        yield needed.call
        yield from _list_calls(needed)


DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "configuration.md": render_configuration,
    "api.md": render_api,
    "metrics.md": render_metrics,
    "prometheus.md": render_prometheus,
}
