import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from event_stream_engine.infra import embedded
from event_stream_engine.infra.cluster import Cluster
from event_stream_engine.infra.embedded import (
    embedded_postgres,
    find_postmaster_pid,
    find_system_postgres,
    revive,
)
from event_stream_engine.kernel.errors import Conflict, Unavailable

ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="starting as another user needs root")
SOURCE = Path(embedded.__file__).parents[2]
USE_UNTIL_TOLD = """
import asyncio, sys
from pathlib import Path
from event_stream_engine.infra.embedded import embedded_postgres, find_postmaster_pid

async def main(data_dir):
    async with embedded_postgres(data_dir) as url:
        print(find_postmaster_pid(data_dir), url, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """A data folder that is not there yet, in a folder that every user can pass through."""
    with tempfile.TemporaryDirectory(prefix="ese-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data"


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """A data folder that the tests of this module use one after the other, to make its database only once."""
    with tempfile.TemporaryDirectory(prefix="ese-") as folder:
        yield Path(folder)


@pytest.fixture
def reachable_programs(new_dir: Path) -> Path:
    """The server's programs where every user can run them; this checkout may lie under /root."""
    programs = embedded._bundled_programs()
    if all(folder.stat().st_mode & 0o001 for folder in programs.parents):
        return programs
    package = programs.parents[1]
    for folder in (package, package.with_suffix(".libs")):
        shutil.copytree(folder, new_dir.parent / folder.name)
    return new_dir.parent / package.name / "pginstall" / "bin"


def start_user(data_dir: Path, *prefix: str) -> "subprocess.Popen[str]":
    command = [*prefix, sys.executable, "-c", USE_UNTIL_TOLD, str(data_dir)]
    environment = {"PYTHONPATH": str(SOURCE), "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd="/")


def read_pid(user: "subprocess.Popen[str]") -> int:
    assert user.stdout is not None
    return int(user.stdout.readline().split()[0])


def is_alive(pid: int) -> bool:
    try:
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def ask(url: str, question: str) -> object:
    with psycopg.connect(url, autocommit=True) as conn:
        answer = conn.execute(question.encode())
        row = answer.fetchone() if answer.description else None
        return row and row[0]


@pytest.mark.parametrize(
    "bin_dir",
    [
        pytest.param(None, id="pg18"),
        pytest.param(
            find_system_postgres(15),
            id="pg15",
            marks=pytest.mark.skipif(not find_system_postgres(15), reason="no PostgreSQL 15 here"),
        ),
    ],
)
async def test_server_runs_for_its_user_and_its_data_stay(new_dir: Path, bin_dir: Path | None) -> None:
    async with embedded_postgres(new_dir, bin_dir=bin_dir) as url:
        pid = find_postmaster_pid(new_dir)
        assert pid is not None
        assert os.getsid(pid) == pid, "a Ctrl-C of our terminal must not reach it"
        ask(url, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('Ärger')")
        assert ask(url, "SELECT upper(word) FROM kept") == "ÄRGER"
    assert not is_alive(pid)
    async with embedded_postgres(new_dir, bin_dir=bin_dir) as url:
        assert ask(url, "SELECT word FROM kept") == "Ärger"


async def test_server_is_durable_closed_to_the_network_and_counts_statements(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as url:
        for name, value in {
            "fsync": "on",
            "full_page_writes": "on",
            "synchronous_commit": "on",
            "data_checksums": "on",
            "server_encoding": "UTF8",
            "listen_addresses": "",
        }.items():
            assert ask(url, f"SHOW {name}") == value, name
        assert (data_dir / "postgres" / "run").stat().st_mode & 0o777 == 0o700
        ask(url, "CREATE EXTENSION pg_stat_statements")
        assert ask(url, "SELECT count(*) > 0 FROM pg_stat_statements")


async def test_server_stays_until_the_last_user_leaves(data_dir: Path) -> None:
    async with AsyncExitStack() as last:
        async with embedded_postgres(data_dir):
            pid = find_postmaster_pid(data_dir)
            url = await last.enter_async_context(embedded_postgres(data_dir))
            assert find_postmaster_pid(data_dir) == pid
        assert ask(url, "SELECT 1") == 1
    assert pid is not None
    assert not is_alive(pid)


async def test_users_who_come_at_once_share_one_server(data_dir: Path) -> None:
    users = [start_user(data_dir) for _ in range(3)]
    assert len({read_pid(user) for user in users}) == 1
    pid = find_postmaster_pid(data_dir)
    for user in users:
        await asyncio.to_thread(user.communicate, "\n")
        assert user.returncode == 0
    assert pid is not None
    assert not is_alive(pid)


async def test_server_of_a_killed_user_is_used_and_stopped_by_the_next(data_dir: Path) -> None:
    with start_user(data_dir) as user:
        pid = read_pid(user)
        user.kill()
    assert is_alive(pid)
    async with embedded_postgres(data_dir):
        assert find_postmaster_pid(data_dir) == pid
    assert not is_alive(pid)


async def test_killed_postmaster_is_revived_under_load_without_losing_a_commit(data_dir: Path) -> None:
    async with embedded_postgres(data_dir) as url:
        ask(url, "CREATE TABLE acknowledged (n int)")
        busy = await psycopg.AsyncConnection.connect(url, autocommit=True)
        # A backend at work does not notice that its postmaster is gone, and keeps the shared memory.
        work = asyncio.create_task(busy.execute("SELECT count(*) FROM generate_series(1, 1000000000)"))
        for n in range(3):
            ask(url, f"INSERT INTO acknowledged VALUES ({n})")
            pid = find_postmaster_pid(data_dir)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await revive(data_dir)
            assert find_postmaster_pid(data_dir) != pid
            assert ask(url, "SELECT count(*) FROM acknowledged") == n + 1
        with pytest.raises(psycopg.OperationalError):
            await work
        await busy.close()


async def test_reviving_a_living_server_leaves_it_alone(data_dir: Path) -> None:
    async with embedded_postgres(data_dir):
        pid = find_postmaster_pid(data_dir)
        await revive(data_dir)
        assert find_postmaster_pid(data_dir) == pid


async def test_stale_pid_file_with_the_number_of_another_program_does_not_block_the_start(
    data_dir: Path,
) -> None:
    async with embedded_postgres(data_dir):
        data = data_dir / "postgres" / "data"
        left_behind = (data / "postmaster.pid").read_text().splitlines()
    owner = data.stat().st_uid
    with subprocess.Popen(["sleep", "60"], **({"user": owner} if os.geteuid() == 0 else {})) as other:
        (data / "postmaster.pid").write_text("\n".join([str(other.pid), *left_behind[1:], ""]))
        async with embedded_postgres(data_dir) as url:
            assert ask(url, "SELECT 1") == 1
        assert other.poll() is None, "the other program must not be killed"
        other.kill()


async def test_interrupted_start_leaves_no_server_and_no_half_made_data(new_dir: Path) -> None:
    async def use() -> None:
        async with embedded_postgres(new_dir):
            pass

    cluster = Cluster(new_dir / "postgres", Path())
    for reached in (cluster.home / "data.new" / "PG_VERSION", cluster.home / "startup.log"):
        start = asyncio.create_task(use())
        while not reached.exists() and not start.done():
            await asyncio.sleep(0.005)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert cluster.find_processes() == set()
    async with embedded_postgres(new_dir) as url:
        assert ask(url, "SELECT 1") == 1


async def test_socket_of_a_long_path_lies_in_a_private_folder_elsewhere(new_dir: Path) -> None:
    deep = new_dir / ("long" * 30)
    async with embedded_postgres(deep) as url:
        folder = Path(psycopg.conninfo.conninfo_to_dict(url)["host"])
        assert not folder.is_relative_to(new_dir)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert ask(url, "SELECT 1") == 1
    folder.rmdir()  # empty: the socket went with its server


async def test_socket_folder_prepared_by_somebody_else_is_refused(new_dir: Path) -> None:
    deep = new_dir / ("long" * 30)
    trap = Cluster(deep / "postgres", Path()).socket_dir
    trap.mkdir()
    trap.chmod(0o777)
    try:
        with pytest.raises(Unavailable, match="mode 0700"):
            async with embedded_postgres(deep):
                pass
    finally:
        trap.rmdir()


async def test_data_of_another_major_version_are_refused_with_both_numbers(new_dir: Path) -> None:
    async with embedded_postgres(new_dir):
        pass
    (new_dir / "postgres" / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(Conflict, match=r"made by PostgreSQL 14, but this is PostgreSQL 18.*pg_dump"):
        async with embedded_postgres(new_dir):
            pass


async def test_server_that_cannot_start_is_quoted(new_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)
    with pytest.raises(Unavailable, match=r'(?s)does not start.*invalid value.*"work_mem"'):
        async with embedded_postgres(new_dir, extra_settings={"work_mem": "nonsense"}):
            pass


@ONLY_ROOT
async def test_root_runs_the_server_as_an_ordinary_user_with_no_right_it_does_not_need(
    new_dir: Path, reachable_programs: Path
) -> None:
    closed = new_dir.parent / "closed"  # like /root
    closed.mkdir(mode=0o700)
    for place, needs_rights in ((new_dir, False), (closed / "data", True)):
        async with embedded_postgres(place, bin_dir=reachable_programs) as url:
            status = Path(f"/proc/{find_postmaster_pid(place)}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            assert "0" not in fields["Uid"].split()
            assert fields["Groups"].strip() == ""
            assert (int(fields["CapEff"], 16) != 0) is needs_rights
            assert ask(url, "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


@ONLY_ROOT
def test_ordinary_user_runs_the_server_as_themselves(new_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    new_dir.mkdir()
    os.chown(new_dir, nobody.pw_uid, nobody.pw_gid)
    become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    # Lets them read an interpreter that lies under /root; what they may write stays the same.
    become += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    with start_user(new_dir, *become, "--") as user:
        pid = read_pid(user)
        assert Path(f"/proc/{pid}").stat().st_uid == nobody.pw_uid
        user.communicate("\n")
    assert user.returncode == 0
    assert not is_alive(pid)


@ONLY_ROOT
async def test_root_goes_on_with_the_data_of_an_ordinary_user(new_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    async with embedded_postgres(new_dir):
        pass
    for path in [new_dir / "postgres", *(new_dir / "postgres").rglob("*")]:
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    async with embedded_postgres(new_dir) as url:
        assert Path(f"/proc/{find_postmaster_pid(new_dir)}").stat().st_uid == nobody.pw_uid
        assert ask(url, "SELECT 1") == 1
