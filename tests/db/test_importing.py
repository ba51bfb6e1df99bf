"""Imports: what a file does to people and consent, also when it is killed half-way or comes twice."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from event_stream_engine.audience import importing
from event_stream_engine.audience.importing import Import
from event_stream_engine.audit.entries import Actor, hash_person
from event_stream_engine.infra.database import Connection, connect, transaction
from event_stream_engine.kernel.clock import SettableClock
from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.worker.recount import recount
from tests.engine import Engine, project_all

KEY = "a secret key of tests, 32 letters and more"
ME = Actor("operator:1")
ANN, BEN, CAT = "+14155550100", "+14155550101", "+14155550102"


class Killed(Exception):
    pass


async def run(
    conn: Connection,
    clock: SettableClock,
    text: str,
    *,
    proof: str | None = None,
    kill_after: int | None = None,
    again: Import | None = None,
) -> Import:
    """Import a CSV; with `kill_after` the process dies after so many steps; `again` takes a dead import over."""
    if again is None:
        async with transaction(conn):
            again = await importing.create_import(
                conn, ME, clock.now(), file_name="people.csv", file_format="csv", consent_proof=proof
            )
            again = await importing.begin_local(conn, again.id, len(text), clock.now())
    steps = 0

    async def note(_: Import) -> None:
        nonlocal steps
        steps += 1
        if steps == kill_after:
            raise Killed

    return await importing.run_import(
        conn, again, io.BytesIO(text.encode()), secret_key=KEY, clock=clock, on_progress=note
    )


@pytest.fixture
async def conn(database_url: str) -> Any:
    async with await connect(database_url, "test") as opened:
        yield opened


async def rows(conn: Connection, query: str) -> list[tuple[Any, ...]]:
    return await (await conn.execute(query)).fetchall()  # type: ignore[arg-type]


async def states(conn: Connection) -> dict[str, str]:
    return dict(await rows(conn, "SELECT phone_e164, consent_state FROM users"))


async def test_people_are_made_and_the_last_row_of_a_number_wins(
    conn: Connection, clock: SettableClock
) -> None:
    done = await run(
        conn,
        clock,
        f"phone,city,consent,timezone\n{ANN},Austin,OPT_IN,\n{BEN},Berlin,,Europe/Berlin\n{ANN},Rome,OPT_OUT,\n",
    )
    assert (done.state, done.rows, done.created, done.duplicates, done.rejected) == ("completed", 3, 2, 1, 0)
    assert await rows(
        conn, "SELECT phone_e164, attributes, consent_state, timezone, country FROM users ORDER BY phone_e164"
    ) == [
        (ANN, {"city": "Rome"}, "OPT_OUT", None, "US"),
        (BEN, {"city": "Berlin"}, "UNKNOWN", "Europe/Berlin", "US"),
    ]
    ledger = "SELECT phone_e164, action, source, actor, evidence FROM consent_ledger"
    assert await rows(conn, ledger) == [
        (ANN, "opt_out", "import", "operator:1", "without proof (people.csv), row 3")
    ]


async def test_attributes_are_merged_and_a_file_that_says_nothing_new_changes_nothing(
    conn: Connection, clock: SettableClock
) -> None:
    await run(conn, clock, f"phone,city,tier\n{ANN},Austin,trial\n")
    done = await run(conn, clock, f"phone,tier\n{ANN},premium\n")
    assert (done.created, done.changed, done.unchanged) == (0, 1, 0)
    again = await run(conn, clock, f"phone,tier\n{ANN},premium\n")
    assert (again.created, again.changed, again.unchanged) == (0, 0, 1)
    assert await rows(conn, "SELECT attributes FROM users") == [({"city": "Austin", "tier": "premium"},)]


async def test_without_proof_nothing_closed_is_opened_and_with_proof_it_is(
    conn: Connection, clock: SettableClock
) -> None:
    await run(conn, clock, f"phone,consent\n{ANN},STOP\n{BEN},OPT_OUT\n{CAT},\n")
    everybody = f"phone,consent\n{ANN},OPT_IN\n{BEN},OPT_IN\n{CAT},OPT_IN\n"
    await run(conn, clock, everybody)
    assert await states(conn) == {ANN: "STOP", BEN: "OPT_OUT", CAT: "OPT_IN"}
    await run(conn, clock, everybody, proof="signed forms of March")
    assert await states(conn) == {ANN: "OPT_IN", BEN: "OPT_IN", CAT: "OPT_IN"}
    evidence = "SELECT evidence FROM consent_ledger WHERE action = 'prove' ORDER BY phone_e164"
    assert await rows(conn, evidence) == [
        ("signed forms of March (people.csv), row 1",),
        ("signed forms of March (people.csv), row 2",),
    ]


async def test_a_row_that_says_nothing_of_consent_leaves_it_as_it_is_also_stop(
    conn: Connection, clock: SettableClock
) -> None:
    await run(conn, clock, f"phone,consent\n{ANN},STOP\n{BEN},OPT_OUT\n{CAT},OPT_IN\n")
    done = await run(conn, clock, f"phone,city\n{ANN},Rome\n{BEN},Rome\n{CAT},Rome\n")
    assert (done.state, done.changed) == ("completed", 3)
    assert await states(conn) == {ANN: "STOP", BEN: "OPT_OUT", CAT: "OPT_IN"}


async def test_what_no_country_gives_out_and_who_was_erased_is_rejected(
    conn: Connection, clock: SettableClock
) -> None:
    await conn.execute(
        "INSERT INTO suppressions (phone_hash, reason, created_at) VALUES (%s, 'erased', now())",
        (hash_person(KEY, BEN),),
    )
    done = await run(conn, clock, f"phone\n{ANN}\n{BEN}\n+99912345678\nnobody\n")
    assert (done.created, done.rejected) == (1, 3)
    found = await importing.list_rejects(conn, done.id, 0, 10)
    assert [(one.row, one.reason.split()[0], one.value) for one in found] == [
        (2, "erased", ""),
        (3, "not", "+99912345678"),
        (4, "no", "nobody"),
    ]


async def test_figures_follow_and_equal_their_recount(
    conn: Connection, clock: SettableClock, database_url: str
) -> None:
    await run(conn, clock, f"phone,consent\n{ANN},OPT_IN\n{BEN},OPT_IN\n{CAT},\n")
    await run(conn, clock, f"phone,consent\n{ANN},OPT_OUT\n")
    await project_all(database_url)
    counted = "SELECT consent_state, users::int FROM user_rollups WHERE users <> 0 ORDER BY 1"
    assert await rows(conn, counted) == [("OPT_IN", 1), ("OPT_OUT", 1), ("UNKNOWN", 1)]
    transitions = "SELECT from_state, to_state, transitions::int FROM consent_rollups WHERE grain = 'minute' ORDER BY 1, 2"
    assert await rows(conn, transitions) == [("OPT_IN", "OPT_OUT", 1), ("UNKNOWN", "OPT_IN", 2)]
    assert await recount(database_url, repair=False, on_progress=lambda _: None) == []


@pytest.mark.parametrize("step", range(1, 6))
async def test_an_import_that_was_killed_goes_on_and_does_nothing_twice(
    conn: Connection, clock: SettableClock, database_url: str, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "STAGED_ROWS", 3)
    monkeypatch.setattr(importing, "APPLIED_PEOPLE", 2)
    people = "".join(f"+1415555{number:04d},OPT_IN\n" for number in range(100, 107))
    text = f"phone,consent\n{people}bad,OPT_IN\n{ANN},OPT_IN\n"
    async with await connect(database_url, "test") as dying:
        with pytest.raises(Killed):
            await run(dying, clock, text, kill_after=step)
    assert await importing.claim_next(conn, clock.now()) is None
    clock.advance(importing.SILENCE * 2)
    taken = await importing.claim_next(conn, clock.now())
    assert taken is not None
    done = await run(conn, clock, text, again=taken)
    assert (done.state, done.rows, done.created, done.duplicates, done.rejected) == ("completed", 9, 7, 1, 1)
    assert await rows(conn, "SELECT count(*)::int, count(DISTINCT phone_e164)::int FROM consent_ledger") == [
        (7, 7)
    ]
    await project_all(database_url)
    assert await rows(conn, "SELECT users::int FROM user_rollups WHERE consent_state = 'OPT_IN'") == [(7,)]


async def test_a_file_that_cannot_be_read_fails_with_its_reason(
    conn: Connection, clock: SettableClock
) -> None:
    done = await run(conn, clock, "name,city\nAnn,Austin\n")
    assert done.state == "failed"
    assert done.error is not None
    assert "names no column with the number" in done.error
    told = await rows(conn, "SELECT action FROM audit_log ORDER BY id")
    assert told == [("import.started",), ("import.failed",)]


async def test_every_change_of_consent_is_covered_by_a_hash_in_the_audit_log(
    conn: Connection, clock: SettableClock
) -> None:
    await run(conn, clock, f"phone,consent\n{ANN},OPT_IN\n{BEN},OPT_IN\n")
    recomputed = (
        "SELECT encode(sha256(convert_to(string_agg(concat_ws(' ', id, action, evidence), E'\\n' ORDER BY id), 'UTF8')), 'hex')"
        " FROM consent_ledger"
    )
    found = await rows(conn, "SELECT after FROM audit_log WHERE action = 'consent.imported'")
    assert found == [({"consent_changes": 2, "ledger_sha256": (await rows(conn, recomputed))[0][0]},)]


async def test_an_uploaded_file_comes_out_of_its_chunks_and_too_large_a_one_is_refused(
    conn: Connection, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await importing.create_import(conn, ME, clock.now(), file_name="a.csv", file_format="csv")
    for number, piece in enumerate((b"phone\n", f"{ANN}\n".encode())):
        await importing.append_chunk(conn, made.id, number, piece)
    assert await importing.claim_next(conn, clock.now()) is None
    await importing.finish_upload(conn, made.id)
    claimed = await importing.claim_next(conn, clock.now())
    assert claimed is not None
    file = io.BytesIO()
    await importing.copy_file(conn, claimed, file)
    assert file.read() == f"phone\n{ANN}\n".encode()
    other = await importing.create_import(conn, ME, clock.now(), file_name="b.csv", file_format="csv")
    monkeypatch.setattr(importing, "LARGEST_FILE_BYTES", 5)
    with pytest.raises(Invalid, match="Split it"):
        await importing.append_chunk(conn, other.id, 0, b"phone\n")


async def test_upload_shows_progress_and_rejects_over_the_api(engine: Engine, tmp_path: Path) -> None:
    content = f"phone,name\n{ANN},Ann\n=cmd(),x\n".encode()
    answer = await engine.client.post("/api/v1/imports", params={"file_name": "p.csv"}, content=content)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["state"], made["size_bytes"]) == ("waiting", len(content))
    async with await connect(engine.url, "test") as conn:
        clock = SettableClock(importing_clock := (await rows(conn, "SELECT now()"))[0][0])
        claimed = await importing.claim_next(conn, importing_clock)
        assert claimed is not None
        file = io.BytesIO()
        await importing.copy_file(conn, claimed, file)
        await importing.run_import(conn, claimed, file, secret_key=KEY, clock=clock, on_progress=_ignore)
    shown = await engine.get(f"/api/v1/imports/{made['id']}")
    assert (shown["state"], shown["created"], shown["rejected"]) == ("completed", 1, 1)
    assert [one["id"] for one in (await engine.get("/api/v1/imports"))["items"]] == [made["id"]]
    rejects = await engine.client.get(f"/api/v1/imports/{made['id']}/rejects.csv")
    assert list(csv.reader(io.StringIO(rejects.text)))[1][::2] == ["2", "'=cmd()"]


async def _ignore(_: Import) -> None:
    pass


@pytest.mark.parametrize(
    ("parameters", "content", "field"),
    [
        ({"file_name": "p.xlsx"}, b"x", "file"),
        ({"file_name": "p.csv", "default_region": "Mars"}, b"x", "default_region"),
        ({"file_name": "p.csv"}, b"", "file"),
    ],
)
async def test_an_upload_that_cannot_work_is_refused_with_its_field(
    engine: Engine, parameters: dict[str, str], content: bytes, field: str
) -> None:
    answer = await engine.client.post("/api/v1/imports", params=parameters, content=content)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


async def test_an_upload_that_broke_off_leaves_no_file_behind(conn: Connection, clock: SettableClock) -> None:
    broken = await importing.create_import(conn, ME, clock.now(), file_name="a.csv", file_format="csv")
    await importing.append_chunk(conn, broken.id, 0, b"phone\n")
    clock.advance(importing.LONGEST_UPLOAD * 2)
    going_on = await importing.create_import(conn, ME, clock.now(), file_name="b.csv", file_format="csv")
    await importing.append_chunk(conn, going_on.id, 0, b"phone\n")
    await importing.give_up_uploads(conn, clock.now())
    assert await rows(conn, "SELECT import_id FROM import_chunks") == [(going_on.id,)]
    assert (await importing.load_import(conn, broken.id)).state == "failed"
    assert (await importing.load_import(conn, going_on.id)).state == "uploading"
