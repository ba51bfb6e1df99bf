"""The `ese` command as a person runs it: real processes, the embedded PostgreSQL, one data folder for all."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from event_stream_engine.audit.anchors import FILE_NAME, Anchor, append_anchor
from event_stream_engine.audit.chain import seal_batch
from event_stream_engine.infra.database import connect, transaction
from event_stream_engine.infra.embedded import embedded_postgres, find_postmaster_pid
from event_stream_engine.kernel.clock import SystemClock
from tests.engine import ACCOUNT_SID, TOKEN

COMMAND = (sys.executable, "-m", "event_stream_engine.cli.main")
PROVIDER = {
    "ESE_TWILIO_ACCOUNT_SID": ACCOUNT_SID,
    "ESE_TWILIO_AUTH_TOKEN": TOKEN,
    "ESE_PROVIDER": "simulator",  # nobody there: nothing may be sent anywhere
    "ESE_SIMULATOR_URL": "http://127.0.0.1:9",
}


def make_environment(home: Path, variables: dict[str, str]) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ESE_")}
    return inherited | {"ESE_DATA_DIR": str(home), "COLUMNS": "200", "NO_COLOR": "1"} | variables


def ese(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = make_environment(home, variables)
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ese-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def database(home: Path) -> Iterator[str]:
    """The embedded database, kept running beside the commands of this module to spare them the start."""
    with asyncio.Runner() as runner:
        server = embedded_postgres(home)
        url = runner.run(server.__aenter__())
        try:
            yield url
        finally:
            runner.run(server.__aexit__(None, None, None))


@contextmanager
def changed(url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url, autocommit=True) as conn:
        yield conn


def test_all_faults_of_the_settings_are_listed_at_once(home: Path) -> None:
    done = ese(home, "serve", ESE_PORT="0", ESE_TIMEZONE="Mars", ESE_TYPO="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line[4:].split()[0] for line in done.stderr.splitlines()[1:]] == [
        "ESE_PORT",
        "ESE_TIMEZONE",
        "ESE_TYPO",
    ]


def test_without_a_token_an_engine_does_not_start(home: Path) -> None:
    done = ese(home, "up")
    assert done.returncode == 1
    assert "ESE_TWILIO_AUTH_TOKEN is not set" in done.stderr


def test_a_taken_port_is_one_message(home: Path, free_port: int) -> None:
    with bound(free_port):
        done = ese(home, "up", ESE_PORT=str(free_port), **PROVIDER)
    assert done.returncode == 1
    assert "set ESE_PORT" in done.stderr


@contextmanager
def bound(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


def test_a_command_alone_starts_the_database_and_stops_it_again(home: Path) -> None:
    assert ese(home, "migrate").stdout.startswith("Applied: 0001_foundation, 0002_campaigns, ")
    assert find_postmaster_pid(home) is None
    assert ese(home, "migrate").stdout == "The database is up to date.\n"
    assert find_postmaster_pid(home) is None


def test_a_key_is_alone_on_standard_output(home: Path, database: str) -> None:
    made = ese(home, "keys", "add", "grafana", "--role", "viewer")
    assert made.returncode == 0
    assert re.fullmatch(r"ese_\w{8}_[\w-]{43}\n", made.stdout)
    again = ese(home, "keys", "add", "grafana", "--role", "viewer")
    assert (again.returncode, again.stdout) == (1, "")
    assert "grafana" in again.stderr
    with changed(database) as conn:
        rows = conn.execute("SELECT * FROM api_keys").fetchall()
    assert len(rows) == 1
    assert made.stdout.strip() not in str(rows)


def test_a_person_and_a_program_are_listed_and_shut_out(home: Path, database: str) -> None:
    key = ese(home, "keys", "add", "going", "--role", "viewer").stdout.strip()
    assert "going" in (listed := ese(home, "keys", "list").stdout)
    assert key not in listed
    assert ese(home, "keys", "revoke", "going").stdout == "The key going is revoked.\n"
    assert ese(home, "keys", "revoke", "going").returncode == 1
    assert "going" not in ese(home, "keys", "list").stdout
    added = ese(home, "operators", "add", "leo@example.com", "--password", "correct horse battery staple")
    assert added.returncode == 0
    assert "may no longer sign in" in ese(home, "operators", "disable", "leo@example.com").stdout
    assert "leo@example.com" in ese(home, "operators", "list").stdout
    assert ese(home, "operators", "enable", "leo@example.com").returncode == 0


def test_an_operator_needs_a_good_password(home: Path, database: str) -> None:
    arguments = ("operators", "add", "ana@example.com", "--role", "admin", "--password")
    weak = ese(home, *arguments, "12345678")
    assert weak.returncode == 1
    assert "password" in weak.stderr.lower()
    made = ese(home, *arguments, "correct horse battery")
    assert made.returncode == 0
    assert "ana@example.com may sign in at http://127.0.0.1:8000/sign-in as admin." in made.stdout
    assert "correct horse" not in made.stdout + made.stderr


def make_lines(count: int) -> list[str]:
    return [
        json.dumps(
            {
                "received_at": f"2026-03-02T12:{number // 60:02d}:{number % 60:02d}Z",
                "path": "/webhooks/status",
                "form": {"MessageSid": f"SM{number}", "MessageStatus": "sent", "To": "+14155551234"},
            }
        )
        for number in range(count)
    ]


def test_an_import_takes_the_good_lines_and_rejects_the_bad_with_number_and_reason(
    home: Path, database: str, tmp_path: Path
) -> None:
    lines = make_lines(60)
    lines.insert(10, "{no json")
    lines.insert(40, '{"path": "/elsewhere"}')
    file = tmp_path / "lines.ndjson"
    file.write_text("\n".join(lines))
    first = ese(home, "import", "webhooks", str(file))
    assert first.returncode == 0
    assert first.stdout == "62 lines: 60 new, 0 there already, 2 rejected\n"
    rejects = [
        json.loads(line)
        for line in (home / "rejects" / "lines.ndjson.rejects.ndjson").read_text().splitlines()
    ]
    assert [(reject["line"], reject["text"]) for reject in rejects] == [(11, lines[10]), (41, lines[40])]
    assert rejects[0]["reason"].startswith("no JSON")
    assert rejects[1]["reason"].startswith("path must be one of")
    assert "line 11: no JSON" in first.stderr

    second = ese(home, "import", "webhooks", str(file), "--rejects", str(tmp_path / "mine" / "bad"))
    assert (second.returncode, second.stdout) == (
        0,
        "62 lines: 0 new, 60 there already, 2 rejected\n",
    )
    assert len((tmp_path / "mine" / "bad").read_text().splitlines()) == 2
    with changed(database) as conn:
        assert conn.execute("SELECT count(*) FROM messages").fetchone() == (60,)


def test_rebuild_finds_an_edited_figure_and_repairs_it(home: Path, database: str) -> None:
    with changed(database) as conn:
        conn.execute(
            "UPDATE message_rollups SET messages = messages + 1 WHERE ctid = (SELECT min(ctid) FROM message_rollups)"
        )
        checked = ese(home, "rebuild", "--check")
        assert checked.returncode == 1
        assert "message_rollups: 1 rows missing, 1 rows too many or wrong" in checked.stdout
        repaired = ese(home, "rebuild")
        assert repaired.returncode == 0
        assert repaired.stdout.endswith("The counted rows are now in place.\n")
        again = ese(home, "rebuild", "--check")
        assert (again.returncode, again.stdout) == (
            0,
            "No difference: every figure equals its recount from the log.\n",
        )


def test_replay_projects_a_dead_letter_once_its_cause_is_gone(
    home: Path, database: str, tmp_path: Path
) -> None:
    file = tmp_path / "letters.ndjson"
    form = {"MessageSid": "SMbad", "MessageStatus": "sent", "To": "+14155550000"}
    line = {"received_at": "2026-03-02T13:00:00Z", "path": "/webhooks/status"}
    forms = [form, form | {"MessageSid": "SMlost", "MessageStatus": "lost"}, form | {"To": "+14155550001"}]
    forms[2]["MessageSid"] = "SMgood"
    file.write_text("\n".join(json.dumps(line | {"form": each}) for each in forms))
    with changed(database) as conn:
        conn.execute("ALTER TABLE messages ADD CONSTRAINT cause CHECK (recipient_phone <> '+14155550000')")
        assert ese(home, "import", "webhooks", str(file)).returncode == 0
        good = conn.execute("SELECT provider_sid FROM messages WHERE recipient_phone LIKE '+1415555000%'")
        assert good.fetchall() == [("SMgood",)]
        in_vain = ese(home, "replay")
        assert in_vain.returncode == 0
        assert "2 tried, 0 projected, 2 left" in in_vain.stdout
        assert "MessageStatus lost is not known" in in_vain.stdout
        assert "+14155550000" not in in_vain.stdout
        conn.execute("ALTER TABLE messages DROP CONSTRAINT cause")
        assert "2 tried, 1 projected, 1 left" in ese(home, "replay").stdout
        assert conn.execute("SELECT status FROM messages WHERE provider_sid = 'SMbad'").fetchall() == [
            ("SENT",)
        ]


def seal(url: str) -> Anchor:
    async def run() -> Anchor:
        async with await connect(url, "test") as conn, transaction(conn):
            now = SystemClock().now()
            sealed = await seal_batch(conn, now)
            assert sealed is not None
            return Anchor(sealed.number, sealed.hash, now)

    return asyncio.run(run())


def test_verifying_the_audit_trail_names_the_first_bad_row_and_fails(
    home: Path, database: str, tmp_path: Path
) -> None:
    ese(home, "keys", "add", "audited", "--role", "viewer")
    anchors = tmp_path / "anchors.ndjson"
    anchor = seal(database)
    append_anchor(anchors, anchor)
    alone = ese(home, "audit", "verify")
    assert alone.returncode == 0
    assert "Without anchors a cut or rewritten chain shows nothing" in alone.stdout
    whole = ese(home, "audit", "verify", "--anchors", str(anchors))
    assert whole.returncode == 0
    assert "The audit trail is whole" in whole.stdout
    assert anchor.hash.hex() in whole.stdout
    with changed(database) as conn:
        conn.execute("SET session_replication_role = replica")
        ((row,),) = conn.execute("SELECT max(id) FROM audit_log").fetchall()
        conn.execute("UPDATE audit_log SET actor = 'operator:eve' WHERE id = %s", (row,))
        edited = ese(home, "audit", "verify", "--anchors", str(anchors))
        conn.execute("UPDATE audit_log SET actor = 'engine:cli' WHERE id = %s", (row,))
        assert edited.returncode == 1
        assert f"Row {row} was edited (batch 1" in edited.stderr
        conn.execute("TRUNCATE audit_batches")
        cut = ese(home, "audit", "verify", "--anchors", str(anchors))
        assert cut.returncode == 1
        assert "its tail was cut" in cut.stderr
    gone = ese(home, "audit", "verify", "--anchors", str(tmp_path / "gone"))
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "cannot be read" in gone.stderr


def test_doctor_says_what_is_wrong_and_what_to_do(home: Path, database: str) -> None:
    done = ese(home, "doctor")
    found = {line[7:26].strip(): line for line in done.stdout.splitlines()[1:]}
    assert done.returncode == 1
    assert found["credentials"].startswith("wrong")
    assert "Set ESE_TWILIO_AUTH_TOKEN" in found["credentials"]
    assert found["public URL"].startswith("look")
    for name in ("disk", "PostgreSQL", "clock", "pg_stat_statements", "durability", "migrations", "database"):
        assert found[name].startswith("ok"), name
    assert found["provider"].startswith("look")
    assert (
        "audit trail" in found
    )  # how it is depends on how long ago the other commands were: no worker seals
    assert "Start `ese work`" in found["workers"]
    assert "ese replay" in found["dead letters"]


def test_doctor_sees_whether_the_simulator_listens(home: Path, database: str, free_port: int) -> None:
    simulator = {"ESE_PROVIDER": "simulator", "ESE_SIMULATOR_URL": f"http://127.0.0.1:{free_port}"}
    assert "wrong  provider" in ese(home, "doctor", **simulator).stdout
    with socket.create_server(("127.0.0.1", free_port)):
        assert "ok     provider" in ese(home, "doctor", **simulator).stdout


def test_doctor_sees_a_chain_that_is_not_what_was_anchored(home: Path, database: str) -> None:
    append_anchor(home / FILE_NAME, Anchor(10**9, bytes(32), SystemClock().now()))
    assert "wrong  audit trail" in ese(home, "doctor").stdout
    (home / FILE_NAME).unlink()


def test_doctor_works_before_anything_is_there(tmp_path: Path, free_port: int) -> None:
    secrets = {
        "ESE_SECRET_KEY": "k" * 32,
        "ESE_DATABASE_URL": f"postgresql://x:pass-word@127.0.0.1:{free_port}/x",
    }
    done = ese(tmp_path / "not" / "yet", "doctor", **secrets, **PROVIDER)
    assert done.returncode == 1
    assert "Start it, or correct ESE_DATABASE_URL." in done.stdout
    assert "pass-word" not in done.stdout + done.stderr
    done = ese(tmp_path, "replay", **secrets)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"127.0.0.1:{free_port}/x does not answer" in done.stderr


@dataclass(slots=True)
class Running:
    """A started `ese up`; `client` speaks to its port."""

    process: subprocess.Popen[bytes]
    said: Path
    client: httpx.Client

    def read(self) -> str:
        return self.said.read_text(errors="replace")

    def wait_for(self, check: Callable[[], bool], seconds: float = 30) -> None:
        give_up_at = time.monotonic() + seconds
        while not check():
            assert self.process.poll() is None, self.read()
            assert time.monotonic() < give_up_at, self.read()
            time.sleep(0.05)

    def stop(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=15)


@contextmanager
def running(home: Path, port: int, *arguments: str, until: str, **variables: str) -> Iterator[Running]:
    said = home.with_suffix(f".{port}.log")
    with (
        said.open("wb") as output,
        subprocess.Popen(
            [*COMMAND, *arguments],
            env=make_environment(home, variables | {"ESE_PORT": str(port)}),
            stdout=output,
            stderr=output,
        ) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        try:
            started = Running(process, said, client)
            started.wait_for(lambda: until in started.read())
            yield started
        finally:
            if process.poll() is None:
                process.terminate()


def find_processes(home: Path) -> list[str]:
    """Return the command lines of all processes that work for a data folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(home) in command or f"ESE_DATA_DIR={home}\0".encode() in environment + b"\0":
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def read_demo_sign_in(text: str) -> dict[str, str]:
    found = re.search(r"Sign in +(\S+) with password (\S+)", text)
    assert found, text
    return {"email": found[1], "password": found[2]}


@pytest.mark.parametrize(
    ("command", "until", "number"),
    [("serve", "startup complete", signal.SIGTERM), ("work", "", signal.SIGINT)],
)
def test_what_serves_or_works_alone_takes_its_database_with_it(
    tmp_path: Path, free_port: int, command: str, until: str, number: int
) -> None:
    with running(tmp_path / "engine", free_port, command, until=until, **PROVIDER) as alone:
        alone.wait_for(lambda: find_postmaster_pid(tmp_path / "engine") is not None)
        if command == "serve":
            alone.wait_for(lambda: alone.client.get("/readyz").status_code == 200)
        assert alone.stop(number) == 0, alone.read()
    assert find_processes(tmp_path / "engine") == []
    assert find_postmaster_pid(tmp_path / "engine") is None


def test_a_demo_starts_stops_and_goes_on_with_its_data_beside_another_engine(tmp_path: Path) -> None:
    demo_home, other_home = tmp_path / "demo", tmp_path / "other"
    ports = [find_free_port() for _ in range(2)]
    with (
        running(demo_home, ports[0], "up", "--demo", until="Ctrl-C") as demo,
        running(other_home, ports[1], "up", until="Ctrl-C", **PROVIDER) as other,
    ):
        assert f"http://127.0.0.1:{ports[0]}/monitoring" in demo.read()
        assert "ese operators add" in other.read()
        for engine in (demo, other):
            assert engine.client.get("/readyz").json()["status"] == "ready"
        sign_in = read_demo_sign_in(demo.read())
        assert demo.client.post("/sign-in", data=sign_in).status_code == 303
        assert demo.client.get("/monitoring").status_code == 200
        assert other.client.get("/monitoring", headers={"accept": "text/html"}).status_code == 303

        key = ese(demo_home, "keys", "add", "beside", "--role", "viewer").stdout.strip()
        headers = {"authorization": f"Bearer {key}"}
        path = "/api/v1/monitoring/dashboard"
        assert other.client.get(path, headers=headers).status_code == 401

        def count_sent(running: Running) -> int:
            kpis = running.client.get(path, headers=headers).json()["kpis"]
            return next(int(kpi["value"]) for kpi in kpis if kpi["slug"] == "message_volume")

        demo.wait_for(lambda: count_sent(demo) > 1000, seconds=60)
        assert len(find_processes(demo_home)) >= 5
        assert demo.stop(signal.SIGINT) == 0
        assert demo.read().endswith("Stopped. The data are kept.\n")
        assert find_processes(demo_home) == []
        assert find_postmaster_pid(demo_home) is None
        assert other.client.get("/readyz").status_code == 200
        assert other.stop(signal.SIGTERM) == 0
    assert find_processes(other_home) == []

    with running(demo_home, ports[0], "up", "--demo", until="Ctrl-C") as demo:
        assert read_demo_sign_in(demo.read()) == sign_in
        assert count_sent(demo) > 1000
        assert demo.stop(signal.SIGINT) == 0
    assert find_processes(demo_home) == []


def find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
