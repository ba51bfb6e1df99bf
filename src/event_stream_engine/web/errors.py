"""Errors as answers: problem JSON (RFC 9457) for programs, a page for people. The only module that knows status codes."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from psycopg import OperationalError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from event_stream_engine.kernel.errors import (
    Conflict,
    Denied,
    EngineError,
    Invalid,
    NotFound,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from event_stream_engine.web.middleware import request_id_of
from event_stream_engine.web.render import render
from event_stream_engine.workbench.statement import Refused

_LOG = logging.getLogger(__name__)
_RETRY_AFTER_SECONDS = 5
_STATUS: Mapping[type[EngineError], HTTPStatus] = {
    Invalid: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    Denied: HTTPStatus.FORBIDDEN,
    Unauthenticated: HTTPStatus.UNAUTHORIZED,
    Throttled: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    EngineError: HTTPStatus.INTERNAL_SERVER_ERROR,
}


class ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def answer_errors(app: FastAPI) -> None:
    """Make every error of an application a problem."""
    app.exception_handler(EngineError)(_answer_engine_error)
    app.exception_handler(OperationalError)(_answer_database_error)
    app.exception_handler(RequestValidationError)(_answer_validation_error)
    app.exception_handler(HTTPException)(_answer_http_exception)
    app.exception_handler(Exception)(_answer_unexpected)


def answer_problem(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> Response:
    """Answer with a problem: a page when a browser asks for one, JSON with `members` added otherwise.

    Shape: type, title, status, detail, instance, request_id. `type` is about:blank: the status says it all.
    """
    title = HTTPStatus(status).phrase
    request_id = request_id_of(request)
    if _wants_page(request):
        page = render(
            request, "error.html", status_code=status, title=title, detail=detail, request_id=request_id
        )
        page.headers.update(headers or {})
        return page
    problem = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": request.url.path,
        "request_id": request_id,
    }
    return ProblemResponse(problem | members, status_code=status, headers=headers)


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")


async def _answer_engine_error(request: Request, error: EngineError) -> Response:
    headers: dict[str, str] = {}
    members: dict[str, str | int] = {}
    match error:
        case Unauthenticated():
            if _wants_page(request):
                return _redirect_to_sign_in(request)
            headers["WWW-Authenticate"] = "Bearer"
        case Unavailable():
            headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
        case Throttled(retry_after_seconds=seconds):
            headers["Retry-After"] = str(seconds)
        case Refused(field=str(field), position=int(position)):
            members |= {"field": field, "position": position}
        case Invalid(field=str(field)):
            members["field"] = field
    return answer_problem(request, _status_of(error), str(error), headers=headers, **members)


def _status_of(error: EngineError) -> HTTPStatus:
    return next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)


def _redirect_to_sign_in(request: Request) -> Response:
    query = ""
    if request.method == "GET":  # what a form sent cannot be sent again by a redirect
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        query = "?" + urlencode({"next": asked}, quote_via=quote)
    return RedirectResponse(f"/sign-in{query}", HTTPStatus.SEE_OTHER)


async def _answer_database_error(request: Request, error: OperationalError) -> Response:
    _LOG.warning("the database is away: %s", type(error).__name__)
    return await _answer_engine_error(
        request, Unavailable("The database does not answer right now. Try again in a moment.")
    )


async def _answer_validation_error(request: Request, error: RequestValidationError) -> Response:
    # Only place and reason: the rest of a fault repeats the input.
    faults = [{"field": _field_of(fault["loc"]), "detail": fault["msg"]} for fault in error.errors()]
    first = faults[0]
    return answer_problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{first['field']}: {first['detail']}",
        field=first["field"],
        errors=faults,
    )


def _field_of(location: tuple[str | int, ...]) -> str:
    """Name the faulty part without where it came from, like `filter.0.value`; the body as a whole is `body`."""
    source, *path = location
    named = any(isinstance(step, str) for step in path)
    return ".".join(str(step) for step in path) if named else str(source)


async def _answer_http_exception(request: Request, error: HTTPException) -> Response:
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = "There is nothing at this address. Check it for a typing error."
    return answer_problem(request, error.status_code, detail, headers=error.headers)


async def _answer_unexpected(request: Request, error: Exception) -> Response:
    # The server logs the traceback; this line ties it to what the person sees.
    _LOG.error("a request failed: %s", type(error).__name__)
    return answer_problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "The engine made a mistake. Its log names the cause beside the request id.",
    )
