"""Signing in and out."""

import logging
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Form
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from event_stream_engine.access.credentials import LONGEST_PASSWORD, find_operator, verify_password
from event_stream_engine.access.sessions import close_session, open_session
from event_stream_engine.access.throttle import forgive_attempts, take_attempt
from event_stream_engine.infra.database import transaction
from event_stream_engine.kernel.errors import Throttled
from event_stream_engine.web.auth import (
    authenticate,
    delete_session_cookie,
    find_session_token,
    require_own_origin,
    set_session_cookie,
)
from event_stream_engine.web.middleware import request_id_of
from event_stream_engine.web.render import render
from event_stream_engine.web.resources import resources_of

_LOG = logging.getLogger(__name__)
START_PAGE = "/monitoring"

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
async def show_sign_in(request: Request, next: str = START_PAGE) -> Response:
    return _show_form(request, HTTPStatus.OK, next=local_path(next))


@router.post("/sign-in", dependencies=[Depends(require_own_origin)])
async def sign_in(
    request: Request,
    email: Annotated[str, Form(max_length=254)],
    password: Annotated[str, Form(max_length=LONGEST_PASSWORD)],
    next: Annotated[str, Form()] = START_PAGE,
) -> Response:
    resources = resources_of(request)
    now = resources.clock.now()
    address = request.client.host if request.client else "local"
    page = local_path(next)
    # No connection is held while the password is hashed, else a storm of sign-ins would drain the pool.
    async with resources.pool.connection() as conn:
        try:
            await take_attempt(conn, email, address, now)
        except Throttled as error:
            _LOG.warning("sign-in throttled for address %s", address)
            answer = _show_form(
                request, HTTPStatus.TOO_MANY_REQUESTS, next=page, email=email, error=str(error)
            )
            answer.headers["Retry-After"] = str(error.retry_after_seconds)
            return answer
        operator = await find_operator(conn, email)
    matches = await verify_password(operator.password_hash if operator else None, password)
    if operator is None or not matches:
        _LOG.info("sign-in refused for address %s", address)
        wrong = "E-mail or password is wrong. Check both and try again."
        return _show_form(request, HTTPStatus.FORBIDDEN, next=page, email=email, error=wrong)
    async with resources.pool.connection() as conn, transaction(conn):
        await forgive_attempts(conn, email, address)
        if earlier := find_session_token(request):
            await close_session(conn, earlier, now, request_id_of(request))
        token = await open_session(conn, operator.principal.id, now, request_id_of(request))
    redirect = RedirectResponse(page, HTTPStatus.SEE_OTHER)
    set_session_cookie(redirect, resources.settings, token)
    return redirect


@router.post("/sign-out", dependencies=[Depends(authenticate)])
async def sign_out(request: Request) -> Response:
    resources = resources_of(request)
    if token := find_session_token(request):
        async with resources.pool.connection() as conn, transaction(conn):
            await close_session(conn, token, resources.clock.now(), request_id_of(request))
    answer = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    delete_session_cookie(answer, resources.settings)
    return answer


def _show_form(
    request: Request, status: HTTPStatus, *, next: str, email: str = "", error: str | None = None
) -> Response:
    return render(request, "sign_in.html", status_code=status, next=next, email=email, error=error)


def local_path(text: str) -> str:
    """Return where to go after signing in: a path of this engine, else the start page.

    Browsers read `//host` and `/\\host` as another site, and drop tabs and line ends before they look.
    """
    is_local = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_local and text.isprintable() and " " not in text else START_PAGE
