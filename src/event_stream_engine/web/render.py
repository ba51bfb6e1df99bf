"""Pages from templates, and the files they load."""

import hashlib
import re
from datetime import timedelta
from functools import lru_cache
from os import PathLike, stat_result
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from event_stream_engine.access.roles import Role
from event_stream_engine.alerting.telling import format_value
from event_stream_engine.analytics.catalogue import METRICS
from event_stream_engine.kernel import formats
from event_stream_engine.kernel.phone import mask_phone
from event_stream_engine.web import wording
from event_stream_engine.web.chart_bundle import BUNDLE_URL
from event_stream_engine.web.charts import theme
from event_stream_engine.web.sparklines import draw_sparkline

# Address and name of each room of the console, in the order of the header.
ROOMS = (
    ("/monitoring", "Monitoring"),
    ("/campaigns", "Campaigns"),
    ("/audience", "Audience"),
    ("/inbound", "Inbound"),
    ("/performance", "Performance"),
    ("/compliance", "Compliance"),
    ("/alerts", "Alerts"),
    ("/incidents", "Incidents"),
    ("/reports", "Reports"),
    ("/insights", "Insights"),
    ("/settings", "Settings"),
)
STATIC_DIR = Path(__file__).parent / "static"


@lru_cache(maxsize=256)
def _digest(file: str, _mtime_ns: int) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16]


def static_url(name: str) -> str:
    """Return the address of a static file with its content hash, so that browsers may keep it for ever."""
    file = STATIC_DIR / name
    return f"/static/{quote(name)}?v={_digest(str(file), file.stat().st_mtime_ns)}"


class StaticAssets(StaticFiles):
    """Static files; one asked for by its present hash is cacheable for ever, any other is checked each time."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("v")
        present = [_digest(str(full_path), stat_result.st_mtime_ns)]
        response.headers["cache-control"] = (
            "public, max-age=31536000, immutable" if asked == present else "no-cache"
        )
        return response


def format_code(text: str) -> Markup:
    """Mark up what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


_TEMPLATES = Environment(
    loader=PackageLoader("event_stream_engine.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals |= {
    "static_url": static_url,
    "rooms": ROOMS,
    "chart_bundle_url": BUNDLE_URL,
    "chart_themes": {"light": theme("light"), "dark": theme("dark")},
    "sparkline": draw_sparkline,
    "two_hours": timedelta(hours=2),
    "metric": METRICS.__getitem__,  # an unknown slug is a fault of the page
    "ALERT_STATES": wording.ALERT_STATES,
    "ALERT_SEVERITIES": wording.ALERT_SEVERITIES,
    "ALERT_STEPS": wording.ALERT_STEPS,
    "CAMPAIGN_STATES": wording.CAMPAIGN_STATES,
    "CONSENT_STATES": wording.CONSENT_STATES,
    "EXPORT_STATES": wording.EXPORT_STATES,
    "IMPORT_STATES": wording.IMPORT_STATES,
    "INCIDENT_SEVERITIES": wording.INCIDENT_SEVERITIES,
    "INCIDENT_STATES": wording.INCIDENT_STATES,
    "INTENT_NAMES": wording.INTENT_NAMES,
    "SOURCE_NAMES": wording.SOURCE_NAMES,
    "MESSAGE_STATUSES": wording.MESSAGE_STATUSES,
    "STEPS": wording.STEPS,
    "VIOLATIONS": wording.VIOLATIONS,
}
_TEMPLATES.filters |= {
    "measured": format_value,
    "number": formats.format_number,
    "plain": formats.format_plain,
    "percent": formats.format_percent,
    "figure": formats.format_figure,
    "change": formats.format_change,
    "duration": formats.format_duration,
    "hour": formats.format_hour,
    "clock": formats.format_clock,
    "window": formats.format_window,
    "moment": formats.format_moment,
    "date": formats.format_date,
    "bytes": formats.format_bytes,
    "day": formats.format_day,
    "whole": formats.format_whole,
    "coded": format_code,
    "masked": mask_phone,
    "reason": wording.word_reason,
    "action": wording.word_action,
    "step_mark": wording.mark_step,
}


def render(request: Request, template: str, *, status_code: int = 200, **context: Any) -> HTMLResponse:
    """Render a page. Besides `context` it sees `request`, `scheme`, what fires, `principal` and `csrf_token`, None when nobody is signed in."""
    state = request.state
    everywhere = {
        "request": request,
        "principal": getattr(state, "principal", None),
        "csrf_token": getattr(state, "csrf_token", None),
        "scheme": _chosen_scheme(request),
        "firing": getattr(state, "firing", ()),
        "may_acknowledge": may_write(request),
    }
    return HTMLResponse(
        _TEMPLATES.get_template(template).render(everywhere | context), status_code=status_code
    )


def may_change(request: Request) -> bool:
    """Return whether who looks at a page may change rules and settings."""
    principal = getattr(request.state, "principal", None)
    return principal is not None and principal.role >= Role.admin


def may_write(request: Request) -> bool:
    """Return whether who looks at a page may change what it shows."""
    principal = getattr(request.state, "principal", None)
    return principal is not None and principal.role >= Role.operator


def _chosen_scheme(request: Request) -> str | None:
    """Return `light` or `dark` when the person chose one; from a cookie, so that no page flashes in the other."""
    chosen = request.cookies.get("ese_scheme")
    return chosen if chosen in ("light", "dark") else None
