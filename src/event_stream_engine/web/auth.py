"""Who sends a request: a program with an API key, or an operator with a session cookie."""

from collections.abc import Callable
from functools import cache
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.access.credentials import find_principal_by_key
from event_stream_engine.access.roles import Principal, Role, require
from event_stream_engine.access.sessions import (
    AGE_LIMIT,
    derive_csrf_token,
    find_principal_by_session,
    is_csrf_token,
)
from event_stream_engine.audit.entries import Actor
from event_stream_engine.infra.settings import Settings
from event_stream_engine.kernel.errors import Denied, Unauthenticated
from event_stream_engine.web.middleware import request_id_of
from event_stream_engine.web.resources import resources_of

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_BEARER = HTTPBearer(auto_error=False, description="An API key made with `ese keys add`.")


async def authenticate(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Principal:
    """Find who sends the request; a session's must prove, for an unsafe method, that our own page sent it.

    Errors: Unauthenticated; Denied without the CSRF token.
    """
    resources = resources_of(request)
    now = resources.clock.now()
    if bearer is not None:
        async with resources.pool.connection() as conn:
            principal = await find_principal_by_key(conn, bearer.credentials, now)
        if principal is None:
            raise Unauthenticated("This API key is unknown or revoked. Make a new one with `ese keys add`.")
    else:
        token = find_session_token(request)
        if token is None:
            raise Unauthenticated("Sign in, or send an API key as `Authorization: Bearer <key>`.")
        async with resources.pool.connection() as conn:
            principal = await find_principal_by_session(conn, token, now)
        if principal is None:
            raise Unauthenticated("This session has ended. Sign in again.")
        await _require_csrf_token(request, resources.settings.secret_key, token)
        request.state.csrf_token = derive_csrf_token(resources.settings.secret_key, token)
    request.state.principal = principal
    return principal


@cache  # so that FastAPI sees the same dependency on router and route, and asks once
def require_role(needed: Role) -> Callable[[Principal], Principal]:
    """Make the dependency that lets only principals with at least this role pass and returns them."""

    def check_role(principal: Annotated[Principal, Depends(authenticate)]) -> Principal:
        require(principal.role, needed)
        return principal

    return check_role


def actor_of(request: Request) -> Actor:
    """Return who sends this request, which `authenticate` has let in, as the audit trail names them."""
    principal: Principal = request.state.principal
    kind = "key" if principal.kind == "api_key" else "operator"
    return Actor(f"{kind}:{principal.id}", request_id_of(request))


def require_own_origin(request: Request) -> None:
    """Refuse a form that another site sent; for signing in, when there is no session yet to tie a token to.

    Errors: Denied.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        allowed = site in ("same-origin", "none")
    else:  # an old browser, plain http, or no browser at all
        public = urlsplit(resources_of(request).settings.public_url)
        own = {f"{url.scheme}://{url.netloc}" for url in (public, request.url)}
        allowed = request.headers.get("origin") in {None, *own}
    if not allowed:
        raise Denied("This form was sent from another site. Open the sign-in page here and send it again.")


async def _require_csrf_token(request: Request, secret_key: str, token: str) -> None:
    if request.method in _SAFE_METHODS:
        return
    given: object = request.headers.get("x-csrf-token")
    if given is None and "form" in request.headers.get("content-type", ""):
        given = (await request.form()).get("csrf_token")
    if not (isinstance(given, str) and is_csrf_token(secret_key, token, given)):
        raise Denied("The form has no valid CSRF token. Reload the page and send it again.")


def find_session_token(request: Request) -> str | None:
    return request.cookies.get(_cookie_name(resources_of(request).settings))


def set_session_cookie(response: Response, settings: Settings, token: str) -> None:
    """Hand the browser its session. How long it really lasts is decided in the database."""
    response.set_cookie(
        _cookie_name(settings),
        token,
        max_age=int(AGE_LIMIT.total_seconds()),
        secure=_is_secure(settings),
        httponly=True,
        samesite="lax",
    )


def delete_session_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(_cookie_name(settings), secure=_is_secure(settings), httponly=True, samesite="lax")


def _is_secure(settings: Settings) -> bool:
    return urlsplit(settings.public_url).scheme == "https"


def _cookie_name(settings: Settings) -> str:
    # Cookies ignore the port; without it in the name, two engines on one host would sign each other's people out.
    secure = _is_secure(settings)
    port = urlsplit(settings.public_url).port or (443 if secure else 80)
    return f"{'__Host-' if secure else ''}ese_session_{port}"
