"""The door as seen from outside: a small application with the real parts, driven over HTTP."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import pytest
from fastapi import Depends, FastAPI, Form
from httpx import ASGITransport, AsyncClient, Response
from psycopg import OperationalError
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel
from starlette.requests import Request

from event_stream_engine.access import credentials, throttle
from event_stream_engine.access.roles import Principal, Role
from event_stream_engine.infra.database import Pool, connect, open_pool
from event_stream_engine.infra.settings import Settings, load_settings
from event_stream_engine.ingest.intake import Intake
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Conflict, EngineError, Invalid, NotFound, Unavailable
from event_stream_engine.monitoring.feed import Feed
from event_stream_engine.monitoring.readings import Readout
from event_stream_engine.monitoring.watch import HealthWatch
from event_stream_engine.stream.spool import Spool
from event_stream_engine.web.auth import actor_of, require_role
from event_stream_engine.web.errors import answer_errors
from event_stream_engine.web.feed_words import write_step
from event_stream_engine.web.middleware import protect
from event_stream_engine.web.pages import sign_in
from event_stream_engine.web.render import STATIC_DIR, StaticAssets, static_url
from event_stream_engine.web.resources import Resources
from event_stream_engine.workbench.readers import open_readers

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
EMAIL, PASSWORD = "ana@example.com", "correct horse battery"
PAGE = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
SECRET_DETAIL = "row 4711 of the vault"

Viewer = Annotated[Principal, Depends(require_role(Role.viewer))]


class Segment(BaseModel):
    name: str
    size: int


def build_app(resources: Resources) -> FastAPI:
    app = FastAPI()
    app.state.resources = resources
    answer_errors(app)
    app.include_router(sign_in.router)
    app.mount("/static", StaticAssets(directory=STATIC_DIR))

    @app.get("/monitoring")
    async def page(request: Request, principal: Viewer) -> str:
        return f"{principal.name} {request.state.csrf_token}"

    @app.post("/monitoring")
    async def change_page(principal: Viewer, note: Annotated[str, Form()]) -> str:
        return note

    @app.get("/api/v1/figures")
    async def figures(principal: Viewer, since: datetime | None = None) -> dict[str, str]:
        return {"kind": principal.kind, "name": principal.name, "role": principal.role.value}

    @app.post("/api/v1/segments", dependencies=[Depends(require_role(Role.viewer))])
    async def add_segment(segment: Segment) -> str:
        return segment.name

    @app.delete("/api/v1/segments", dependencies=[Depends(require_role(Role.admin))])
    async def delete_segments() -> str:
        return "gone"

    @app.get("/api/v1/me", dependencies=[Depends(require_role(Role.viewer))])
    async def show_actor(request: Request) -> dict[str, str | None]:
        actor = actor_of(request)
        return {"name": actor.name, "request_id": actor.request_id}

    @app.get("/api/v1/errors/{kind}")
    @app.get("/errors/{kind}")
    async def fail(kind: str) -> None:
        raise {
            "invalid": Invalid("The end is before the start.", "until"),
            "vague": Invalid("Nothing fits."),
            "missing": NotFound("No campaign 7."),
            "conflict": Conflict("The campaign is running."),
            "away": Unavailable("The spool is full."),
            "database": OperationalError(SECRET_DETAIL),
            "engine": EngineError("Something odd."),
            "bug": ZeroDivisionError(SECRET_DETAIL),
        }[kind]

    return app


@dataclass
class Door:
    client: AsyncClient
    resources: Resources
    clock: SettableClock

    def another_client(self, public_url: str | None = None, address: str = "192.0.2.1") -> AsyncClient:
        """Make a browser of its own, if wanted on an engine with another public address."""
        settings = replace(
            self.resources.settings, public_url=public_url or self.resources.settings.public_url
        )
        app = build_app(replace(self.resources, settings=settings))
        transport = ASGITransport(
            protect(app, settings.public_url), raise_app_exceptions=False, client=(address, 50000)
        )
        return AsyncClient(transport=transport, base_url=settings.public_url)

    async def add_key(self, name: str, role: Role) -> dict[str, str]:
        async with self.resources.pool.connection() as conn:
            new = await credentials.add_api_key(conn, name, role, NOW)
        return {"Authorization": f"Bearer {new.key}"}

    async def sign_in(self, **changed: str) -> Response:
        return await self.client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD} | changed)

    async def csrf_token(self) -> str:
        answer = await self.client.get("/monitoring")
        return str(answer.json()).split()[1]


@pytest.fixture(scope="module")
def password_hash() -> str:
    return credentials._ARGON2.hash(PASSWORD)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings({"ESE_SECRET_KEY": "k" * 32, "ESE_DATA_DIR": str(tmp_path)})


def share(settings: Settings, pool: Pool, clock: SettableClock) -> Resources:
    """What handlers share; nothing of it runs."""
    intake = Intake("", Spool(settings.data_dir / "spool", settings.spool_limit_bytes), uuid4(), clock)
    readers = open_readers(settings, "postgresql://engine@/none")
    watch = HealthWatch("", clock)
    return Resources(
        settings, pool, clock, Feed(pool, write_step), Readout(pool, clock), watch, intake, readers
    )


@pytest.fixture
async def door(database_url: str, settings: Settings, password_hash: str) -> AsyncIterator[Door]:
    """An engine with one operator, Ana."""
    clock = SettableClock(NOW)
    async with open_pool(database_url, "test", largest=4) as pool:
        async with pool.connection() as conn:
            await conn.execute(
                "INSERT INTO operators (id, email, name, password_hash, role, created_at)"
                " VALUES (%s, %s, 'Ana', %s, 'operator', %s)",
                (uuid4(), EMAIL, password_hash, NOW),
            )
        door = Door(AsyncClient(), share(settings, pool, clock), clock)
        async with door.another_client() as door.client:
            yield door


@pytest.fixture
async def shell(settings: Settings) -> AsyncIterator[Door]:
    """An engine whose database is away."""
    clock = SettableClock(NOW)
    pool: Pool = AsyncConnectionPool(open=False)
    shell = Door(AsyncClient(), share(settings, pool, clock), clock)
    async with shell.another_client() as shell.client:
        yield shell


def assert_problem(answer: Response, status: int) -> dict[str, object]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert {"type", "title", "status", "detail", "instance", "request_id"} <= problem.keys()
    assert problem["type"] == "about:blank"
    assert problem["status"] == status
    assert problem["instance"] == answer.request.url.path
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


# -- signing in and out


async def test_signing_in_opens_the_page_and_signing_out_closes_it(door: Door) -> None:
    entered = await door.sign_in()
    assert entered.status_code == 303
    assert entered.headers["location"] == "/monitoring"
    page = await door.client.get("/monitoring", headers=PAGE)
    assert page.status_code == 200
    assert "Ana" in page.text
    cookies = dict(door.client.cookies)
    left = await door.client.post("/sign-out", data={"csrf_token": await door.csrf_token()})
    assert left.status_code == 303
    assert left.headers["location"] == "/sign-in"
    assert not door.client.cookies
    async with door.another_client() as thief:
        thief.cookies.update(cookies)
        answer = await thief.get("/monitoring")
        assert answer.status_code == 401, "the session ends in the database, not only in the browser"


async def test_the_form_can_be_filled_by_a_password_manager_and_read_aloud(shell: Door) -> None:
    form = (await shell.client.get("/sign-in")).text
    for name, autocomplete in (("email", "username"), ("password", "current-password")):
        assert f'<label for="{name}">' in form
        assert re.search(f'<input id="{name}" name="{name}"[^>]* autocomplete="{autocomplete}"', form)
    assert 'role="alert"' not in form


async def test_a_wrong_password_shows_the_form_again_with_its_error(door: Door) -> None:
    answer = await door.sign_in(password="wrong horse battery", next="/monitoring?a=1")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert re.search(r'role="alert">E-mail or password is wrong', answer.text)
    assert f'value="{EMAIL}"' in answer.text
    assert 'value="/monitoring?a=1"' in answer.text
    assert "wrong horse" not in answer.text


async def test_an_unknown_email_is_answered_like_a_wrong_password(door: Door) -> None:
    wrong = await door.sign_in(password="wrong horse battery")
    for email in ("nobody@example.com", "no e-mail", "a\x00@b"):
        unknown = await door.sign_in(email=email)
        assert unknown.status_code == wrong.status_code
        assert len(unknown.text) - len(email) == len(wrong.text) - len(EMAIL)


async def test_what_was_typed_is_escaped(door: Door) -> None:
    answer = await door.sign_in(email='"><script>alert(1)</script>')
    assert "<script" not in answer.text


async def test_signing_in_goes_on_to_the_page_asked_for(door: Door) -> None:
    sent_away = await door.client.get("/monitoring?since=1&q=a%26b", headers=PAGE)
    assert sent_away.status_code == 303
    assert sent_away.headers["location"] == "/sign-in?next=%2Fmonitoring%3Fsince%3D1%26q%3Da%2526b"
    form = await door.client.get(sent_away.headers["location"])
    asked = re.search(r'name="next" value="([^"]*)"', form.text)
    assert asked is not None
    entered = await door.sign_in(next=asked[1].replace("&amp;", "&"))
    assert entered.headers["location"] == "/monitoring?since=1&q=a%26b"


async def test_signing_in_never_leads_to_another_site(door: Door) -> None:
    for evil in ("//evil.example", "https://evil.example", "/\\evil.example", "/\t/evil.example"):
        form = await door.client.get("/sign-in", params={"next": evil})
        assert "evil" not in form.text
        assert (await door.sign_in(next=evil)).headers["location"] == "/monitoring"


async def test_signing_in_again_ends_the_session_before(door: Door) -> None:
    await door.sign_in()
    before = dict(door.client.cookies)
    await door.sign_in()
    assert dict(door.client.cookies) != before
    assert (await door.client.get("/api/v1/figures")).status_code == 200
    async with door.another_client() as other:
        other.cookies.update(before)
        assert (await other.get("/api/v1/figures")).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),
        ({"Origin": "http://127.0.0.1:8000"}, 303),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://name-inside-a-proxy"}, 303),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"}, 403),
    ],
)
async def test_another_site_cannot_sign_a_browser_in(
    door: Door, headers: dict[str, str], status: int
) -> None:
    answer = await door.client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD}, headers=headers)
    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) == (status == 303)


async def test_guessing_is_throttled_and_the_right_password_helps_again_later(door: Door) -> None:
    burst = throttle.PER_EMAIL.burst
    guesses = await asyncio.gather(*(door.sign_in(password="wrong") for _ in range(burst + 2)))
    assert sorted(guess.status_code for guess in guesses) == [403] * burst + [429] * 2
    refused = await door.sign_in()
    assert refused.status_code == 429, "not even the right password is looked at"
    assert "Try again in 20 seconds" in refused.text
    door.clock.advance(timedelta(seconds=int(refused.headers["retry-after"])))
    assert (await door.sign_in()).status_code == 303


async def test_an_address_that_guesses_is_throttled_and_others_are_not(door: Door) -> None:
    for number in range(throttle.PER_ADDRESS.burst):
        await throttle_address(door, f"{number}@example.com")
    assert (await door.sign_in()).status_code == 429
    async with door.another_client(address="192.0.2.2") as other:
        answer = await other.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
        assert answer.status_code == 303


async def throttle_address(door: Door, email: str) -> None:
    """Count a try as the form does, without the price of its hash."""
    async with door.resources.pool.connection() as conn:
        await throttle.take_attempt(conn, email, "192.0.2.1", NOW)


async def test_a_storm_of_sign_ins_holds_no_connection_while_it_hashes(door: Door, database_url: str) -> None:
    key = await door.add_key("grafana", Role.viewer)
    passed = threading.Event()
    for _ in range(credentials._HASHING._max_workers):
        credentials._HASHING.submit(passed.wait)
    pool_size = door.resources.pool.max_size
    try:
        storm = [
            asyncio.create_task(door.sign_in(email=f"{number}@example.com", password="wrong"))
            for number in range(pool_size)
        ]
        watcher = await connect(database_url, "test")
        counted = 0
        while counted < pool_size + 1:  # each e-mail and the address: all have been counted and go on to hash
            row = await (await watcher.execute("SELECT count(*) FROM sign_in_attempts")).fetchone()
            counted = row[0] if row else 0
        await watcher.close()
        assert (await door.client.get("/api/v1/figures", headers=key)).status_code == 200
        assert not any(guess.done() for guess in storm)
    finally:
        passed.set()
    assert {guess.status_code for guess in await asyncio.gather(*storm)} == {403}


# -- the audit trail


async def list_audited(door: Door) -> list[tuple[str, str, str, object, str | None]]:
    async with door.resources.pool.connection() as conn:
        found = await conn.execute(
            "SELECT actor, action, subject, after, request_id FROM audit_log ORDER BY id"
        )
        return await found.fetchall()


async def test_an_actor_is_the_operator_or_the_key_with_the_request(door: Door) -> None:
    headers = await door.add_key("grafana", Role.viewer) | {"X-Request-ID": "abc-1"}
    ((_, _, key, _, _),) = await list_audited(door)
    assert (await door.client.get("/api/v1/me", headers=headers)).json() == {
        "name": key,
        "request_id": "abc-1",
    }
    entered = await door.sign_in()
    operator = (await door.client.get("/api/v1/me")).json()
    assert operator["request_id"] not in (None, entered.headers["x-request-id"])
    assert (await list_audited(door))[-1][0] == operator["name"]
    assert operator["name"].startswith("operator:")


async def test_signing_in_and_out_is_in_the_audit_trail(door: Door) -> None:
    await door.sign_in(password="wrong horse battery")
    entered = await door.sign_in()
    left = await door.client.post("/sign-out", data={"csrf_token": await door.csrf_token()})
    first, second = await list_audited(door)
    assert first[0] == first[2] == second[0] == second[2]
    assert (first[1], first[4]) == ("operator.signed_in", entered.headers["x-request-id"])
    assert (second[1], second[4]) == ("operator.signed_out", left.headers["x-request-id"])


# -- cookies


async def test_the_cookie_on_plain_http_is_kept_from_scripts_and_other_sites(door: Door) -> None:
    cookie = (await door.sign_in()).headers["set-cookie"]
    assert cookie.startswith("ese_session_8000=")
    assert {"HttpOnly", "SameSite=lax", "Path=/", "Max-Age=604800"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


async def test_the_cookie_on_https_is_secure_and_bound_to_its_host(door: Door) -> None:
    async with door.another_client("https://engine.example.com") as client:
        entered = await client.post("/sign-in", data={"email": EMAIL, "password": PASSWORD})
        cookie = entered.headers["set-cookie"]
        assert cookie.startswith("__Host-ese_session_443=")
        assert {"HttpOnly", "SameSite=lax", "Path=/", "Secure"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
        token = (await client.get("/monitoring")).json().split()[1]
        left = await client.post("/sign-out", data={"csrf_token": token})
        assert {"Secure", "Path=/", "Max-Age=0"} <= set(left.headers["set-cookie"].split("; "))
        assert not client.cookies


# -- sessions


async def test_a_session_that_ran_out_leads_to_signing_in(door: Door) -> None:
    await door.sign_in()
    door.clock.advance(timedelta(hours=12))
    page = await door.client.get("/monitoring", headers=PAGE)
    assert page.status_code == 303
    assert page.headers["location"] == "/sign-in?next=%2Fmonitoring"
    problem = assert_problem(await door.client.get("/api/v1/figures", headers=PAGE), 401)
    assert "Sign in again" in str(problem["detail"])


async def test_a_form_sent_after_the_session_ran_out_is_not_asked_for_again(door: Door) -> None:
    await door.sign_in()
    door.clock.advance(timedelta(hours=12))
    answer = await door.client.post("/monitoring", data={"note": "x"}, headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in"


async def test_a_forged_cookie_opens_nothing(door: Door) -> None:
    for forged in ("", "x", "a" * 43, "ü".encode().decode("latin-1")):
        answer = await door.client.get(
            "/api/v1/figures", headers={b"Cookie": f"ese_session_8000={forged}".encode("latin-1")}
        )
        assert_problem(answer, 401)


async def test_an_unsafe_method_with_a_session_needs_its_csrf_token(door: Door) -> None:
    await door.sign_in()
    token = await door.csrf_token()
    segment = {"name": "a", "size": 1}
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": token[:-1] + "x"}):
        problem = assert_problem(
            await door.client.post("/api/v1/segments", json=segment, headers=headers), 403
        )
        assert "CSRF" in str(problem["detail"])
    with_header = await door.client.post("/api/v1/segments", json=segment, headers={"X-CSRF-Token": token})
    assert with_header.json() == "a"
    assert (await door.client.post("/monitoring", data={"note": "x"})).status_code == 403
    with_field = await door.client.post("/monitoring", data={"note": "x", "csrf_token": token})
    assert with_field.json() == "x"
    as_parts = await door.client.post("/monitoring", files={"note": (None, "y"), "csrf_token": (None, token)})
    assert as_parts.json() == "y"
    as_file = await door.client.post("/monitoring", data={"note": "x"}, files={"csrf_token": token.encode()})
    assert as_file.status_code == 403


async def test_signing_out_needs_the_csrf_token_too(door: Door) -> None:
    await door.sign_in()
    assert (await door.client.post("/sign-out")).status_code == 403
    assert (await door.client.get("/api/v1/figures")).status_code == 200


async def test_the_csrf_token_of_another_session_is_refused(door: Door) -> None:
    await door.sign_in()
    others = await door.csrf_token()
    door.client.cookies.clear()
    await door.sign_in()
    assert (
        await door.client.post("/monitoring", data={"note": "x", "csrf_token": others})
    ).status_code == 403


# -- keys


async def test_a_key_opens_the_api_without_csrf_token(door: Door) -> None:
    key = await door.add_key("grafana", Role.viewer)
    answer = await door.client.get("/api/v1/figures", headers=key)
    assert answer.json() == {"kind": "api_key", "name": "grafana", "role": "viewer"}
    changed = await door.client.post("/api/v1/segments", json={"name": "a", "size": 1}, headers=key)
    assert changed.status_code == 200


async def test_without_key_or_session_the_api_asks_for_one(shell: Door) -> None:
    for headers in ({}, PAGE, {"Authorization": "Bearer"}, {"Authorization": "Basic YTpi"}):
        answer = await shell.client.get("/api/v1/figures", headers=headers)
        problem = assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "Authorization: Bearer" in str(problem["detail"])


async def test_a_revoked_or_unknown_key_is_refused(door: Door) -> None:
    key = await door.add_key("grafana", Role.viewer)
    async with door.resources.pool.connection() as conn:
        await credentials.revoke_api_key(conn, "grafana", NOW)
    unknown = {"Authorization": "Bearer ese_00000000_" + "A" * 43}
    for headers in (key, unknown, {"Authorization": "Bearer x"}):
        problem = assert_problem(await door.client.get("/api/v1/figures", headers=headers), 401)
        assert "key" in str(problem["detail"])
        assert "ese_0" not in str(problem["detail"])


async def test_a_wrong_key_is_not_made_good_by_a_session(door: Door) -> None:
    await door.sign_in()
    answer = await door.client.get("/api/v1/figures", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401


async def test_a_role_too_low_is_told_which_it_needs(door: Door) -> None:
    problem = assert_problem(
        await door.client.delete("/api/v1/segments", headers=await door.add_key("low", Role.operator)), 403
    )
    assert "needs the role admin, yours is operator" in str(problem["detail"])
    high = await door.client.delete("/api/v1/segments", headers=await door.add_key("high", Role.admin))
    assert high.status_code == 200


# -- errors


@pytest.mark.parametrize(
    ("kind", "status", "detail"),
    [
        ("invalid", 422, "The end is before the start."),
        ("vague", 422, "Nothing fits."),
        ("missing", 404, "No campaign 7."),
        ("conflict", 409, "The campaign is running."),
        ("away", 503, "The spool is full."),
        ("database", 503, "The database does not answer right now. Try again in a moment."),
        ("engine", 500, "Something odd."),
        ("bug", 500, "The engine made a mistake. Its log names the cause beside the request id."),
    ],
)
async def test_an_error_is_a_problem_for_programs_and_a_page_for_people(
    shell: Door, kind: str, status: int, detail: str
) -> None:
    answer = await shell.client.get(f"/api/v1/errors/{kind}", headers=PAGE)
    problem = assert_problem(answer, status)
    assert problem["detail"] == detail
    assert ("retry-after" in answer.headers) == (status == 503)
    assert problem.get("field") == ("until" if kind == "invalid" else None)
    page = await shell.client.get(f"/errors/{kind}", headers=PAGE)
    assert page.status_code == status
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert detail in page.text
    assert page.headers["x-request-id"] in page.text
    assert ("retry-after" in page.headers) == (status == 503)
    for text in (answer.text, page.text):
        assert SECRET_DETAIL not in text
        assert "ZeroDivision" not in text


async def test_what_does_not_fit_names_its_field_and_repeats_no_input(door: Door) -> None:
    key = await door.add_key("grafana", Role.viewer)
    problem = assert_problem(
        await door.client.get("/api/v1/figures?since=at%2014155550100", headers=key), 422
    )
    assert problem["field"] == "since"
    assert str(problem["detail"]).startswith("since: ")
    assert "4155550100" not in str(problem)
    answer = await door.client.post("/api/v1/segments", json={"size": "many"}, headers=key)
    problem = assert_problem(answer, 422)
    assert problem["field"] == "name"
    assert [fault["field"] for fault in answer.json()["errors"]] == ["name", "size"]
    for content in ("{", "", "[]"):
        answer = await door.client.post(
            "/api/v1/segments", content=content, headers=key | {"Content-Type": "application/json"}
        )
        assert assert_problem(answer, 422)["field"] == "body"


async def test_an_address_or_method_that_does_not_exist_is_a_problem_too(shell: Door) -> None:
    assert_problem(await shell.client.get("/api/v1/nothing"), 404)
    wrong_method = await shell.client.put("/api/v1/figures")
    assert_problem(wrong_method, 405)
    assert wrong_method.headers["allow"] == "GET"
    page = await shell.client.get("/nothing", headers=PAGE)
    assert page.status_code == 404
    assert "nothing at this address" in page.text


async def test_without_its_database_the_door_says_try_again(shell: Door) -> None:
    for headers in ({"Authorization": "Bearer ese_00000000_" + "A" * 43}, {"Cookie": "ese_session_8000=a"}):
        answer = await shell.client.get("/api/v1/figures", headers=headers)
        assert_problem(answer, 503)
        assert answer.headers["retry-after"] == "5"


# -- what every answer carries


@pytest.mark.parametrize("path", ["/sign-in", "/monitoring", "/api/v1/figures", "/nothing", "/errors/bug"])
async def test_every_answer_carries_the_security_headers(shell: Door, path: str) -> None:
    headers = (await shell.client.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["script-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert headers["cache-control"] == "no-store"
    assert "strict-transport-security" not in headers


async def test_https_is_made_to_last(shell: Door) -> None:
    async with shell.another_client("https://engine.example.com") as client:
        headers = (await client.get("/sign-in")).headers
        assert headers["strict-transport-security"] == "max-age=31536000"


async def test_a_sane_request_id_is_echoed_and_any_other_replaced(shell: Door) -> None:
    echoed = await shell.client.get("/sign-in", headers={"X-Request-ID": "proxy-1.a_B"})
    assert echoed.headers["x-request-id"] == "proxy-1.a_B"
    for insane in (b"", b"a b", b"<b>", b"a" * 65, "ü".encode()):
        replaced = await shell.client.get("/sign-in", headers={b"X-Request-ID": insane})
        assert re.fullmatch("[0-9a-f]{32}", replaced.headers["x-request-id"])
    first, second = [await shell.client.get("/sign-in") for _ in range(2)]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_a_static_file_is_kept_for_ever_under_its_present_hash_only(shell: Door) -> None:
    url = static_url("favicon.svg")
    assert url in (await shell.client.get("/sign-in")).text
    present = await shell.client.get(url)
    assert present.status_code == 200
    assert present.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert present.headers["content-type"].startswith("image/svg+xml")
    for other in ("/static/favicon.svg", "/static/favicon.svg?v=0123456789abcdef"):
        answer = await shell.client.get(other)
        assert answer.headers["cache-control"] == "no-cache"
        again = await shell.client.get(other, headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
    for outside in ("/static/../render.py", "/static/%2e%2e/render.py", "/static/nothing.css"):
        assert (await shell.client.get(outside)).status_code == 404
