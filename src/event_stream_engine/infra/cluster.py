"""One PostgreSQL data directory: where it lies, whose it is, how it is made and with which settings it runs.

PostgreSQL refuses to run as root. Root therefore starts it as an unprivileged user; that user owns the data and the
socket, nothing else.
"""

import asyncio
import hashlib
import os
import pwd
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from event_stream_engine.kernel.errors import Conflict, Unavailable

DATABASE = "ese"
PORT = 5432  # only part of the socket's name
_SOCKET_PATH_BYTES = 107
_SERVER_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

SETTINGS: Mapping[str, str] = {
    # No TCP: the socket's folder is closed to everybody but its owner and root, so `trust` in pg_hba.conf is right.
    "listen_addresses": "",
    "max_connections": "60",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",
    "track_io_timing": "on",
    # Acknowledged means on disk. These three are what the promise to a webhook rests on.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    # The hot part (today's log, roll-ups) fits; the rest is left to the operating system's cache.
    "shared_buffers": "256MB",
    "effective_cache_size": "768MB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    # Far-apart checkpoints write fewer full pages; an append-heavy log would otherwise hit the 1 GB default often.
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "random_page_cost": "1.1",  # solid-state disks
    "jit": "off",  # queries take milliseconds, compiling one takes longer
    # A forgotten transaction would hold back the log's horizon and with it every figure.
    "idle_in_transaction_session_timeout": "60s",
    # Roll-up rows are updated all the time and the log only grows: a fifth of a large table is too long to wait.
    "autovacuum_naptime": "15s",
    "autovacuum_vacuum_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "autovacuum_vacuum_insert_scale_factor": "0.05",
    "autovacuum_vacuum_cost_limit": "1000",
    # One file a weekday, overwritten a week later. Statements and details stay out: they carry phone numbers.
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True)
class Account:
    user_id: int
    group_id: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """`home` holds the data, the socket, the logs and the locks; `bin_dir` the programs that run it."""

    home: Path
    bin_dir: Path
    extra_settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def name(self) -> str:
        """A name of this folder that each server process carries in its title, so that it can be told from others."""
        return "ese-" + hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]

    @property
    def socket_dir(self) -> Path:
        beside = self.home / "run"
        if len(os.fsencode(beside / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_BYTES:
            return beside
        # Not TMPDIR: every process that uses this data must come to the same path.
        return Path("/tmp") / self.name  # noqa: S108 - its owner and mode are checked by `prepare`

    async def prepare(self) -> None:
        """Make whatever is missing of data, socket folder, log folder and settings file.

        Errors: Conflict when the data are of another major version; Unavailable when a program fails.
        """
        account = self._account()
        self.home.mkdir(parents=True, exist_ok=True)
        for folder in (self.socket_dir, self.home / "log"):
            _make_private(folder, account)
        major = await self._major()
        if not self.data.exists():
            await self._initialise(major, account)
        found = (self.data / "PG_VERSION").read_text("ascii").strip()
        if found != str(major):
            raise Conflict(
                f"{self.data} was made by PostgreSQL {found}, but this is PostgreSQL {major}. Move the data with"
                f" pg_dump of {found}, or use a server of your own by ESE_DATABASE_URL, or choose another ESE_DATA_DIR."
            )
        settings = {
            **SETTINGS,
            "log_directory": str(self.home / "log"),
            "unix_socket_directories": str(self.socket_dir),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "cluster_name": self.name,
            **self.extra_settings,
        }
        lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items()]
        written = self.home / "postgresql.conf.new"
        written.write_text("# Written at each start. Change a setting with ALTER SYSTEM.\n" + "".join(lines))
        written.chmod(0o644)
        written.replace(self._settings_file)

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the server in a session of its own, where a terminal's Ctrl-C does not reach it."""
        command = [*self._as_account(), str(self.bin_dir / "postgres"), "-D", str(self.data)]
        with (self.home / "startup.log").open("wb") as log:
            return subprocess.Popen(  # noqa: S603 - our own program
                [*command, "-c", f"config_file={self._settings_file}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_SERVER_ENVIRONMENT,
                start_new_session=True,
            )

    def find_processes(self) -> set[int]:
        """Return every living process of this cluster's server, the postmaster among them.

        By command line: in a container even root may not look up another user's working directory.
        """
        title, data = f"postgres: {self.name}: ".encode(), os.fsencode(self.data)
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if words[0].startswith(title) or (words[0].endswith(b"/postgres") and data in words):
                    found.add(int(entry.name))
        return found

    def find_postmaster(self) -> int | None:
        """Return the living postmaster's process id; a pid file left behind by a dead one counts as none."""
        try:
            pid = int((self.data / "postmaster.pid").read_text("ascii").splitlines()[0])
        except (FileNotFoundError, ValueError, IndexError):
            return None
        return pid if pid in self.find_processes() else None

    def last_log_lines(self, count: int = 8) -> str:
        logs = [self.home / "startup.log", *(self.home / "log").glob("*.log")]
        newest = sorted((log for log in logs if log.exists()), key=lambda log: log.stat().st_mtime)[-2:]
        lines: deque[str] = deque(maxlen=count)
        for log in newest:
            with log.open(encoding="utf-8", errors="replace") as text:
                lines.extend(line.rstrip() for line in text)
        return "\n".join(f"  {line}" for line in lines) or "  (the log is empty)"

    @property
    def _settings_file(self) -> Path:
        return self.home / "postgresql.conf"

    def _account(self) -> Account | None:
        """Return the user to run as when we are root, None when we run as ourselves.

        Data that are there already keep their owner: `sudo ese up` must not lock out who made them.
        """
        if os.geteuid() != 0:
            return None
        if self.data.exists() and (owner := self.data.stat()).st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
        for name in ("postgres", "nobody"):
            try:
                found = pwd.getpwnam(name)
            except KeyError:
                continue
            return Account(found.pw_uid, found.pw_gid)
        raise Unavailable(
            "PostgreSQL does not run as root, and there is no user `postgres` or `nobody` to run it as. Make one"
            " with `useradd --system postgres`, or start ese as an ordinary user."
        )

    def _as_account(self) -> list[str]:
        """Return the command prefix that runs a program as the account.

        A folder of mode 0700 on the way to programs or data (a checkout under /root) would stop that user. Only then
        it is given the right to pass; other people's folders are not touched.
        """
        account = self._account()
        if account is None:
            return []
        prefix = ["setpriv", f"--reuid={account.user_id}", f"--regid={account.group_id}", "--clear-groups"]
        reach = [*prefix, "--", "/bin/sh", "-c", 'cd "$1" && exec "$2" --version', "sh"]
        try:
            reached = subprocess.run(  # noqa: S603 - our own program
                [*reach, str(self.home), str(self.bin_dir / "initdb")],
                capture_output=True,
                cwd="/",
                env=_SERVER_ENVIRONMENT,
                check=False,
            )
        except FileNotFoundError:
            raise Unavailable(
                "`setpriv` is missing, with which root starts PostgreSQL as an ordinary user. Install util-linux, or"
                " start ese as an ordinary user."
            ) from None
        if reached.returncode != 0:
            prefix += ["--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
        return [*prefix, "--"]

    async def _major(self) -> int:
        program = self.bin_dir / "postgres"
        if not program.exists():
            raise Unavailable(f"There is no PostgreSQL at {program}. Run `make setup` again.")
        words = (await _run([str(program), "--version"])).split()
        return int(words[2].partition(".")[0])

    async def _initialise(self, major: int, account: Account | None) -> None:
        """Make the data directory with its empty database, complete or not at all."""
        unfinished = self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        _make_private(unfinished, account)
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        command = [*self._as_account(), str(self.bin_dir / "initdb"), "-D", str(unfinished)]
        command += ["--username", DATABASE, "--auth=trust", "--encoding=UTF8", "--data-checksums"]
        command += locale if major >= 17 else ["--locale=C.UTF-8"]
        await _run([*command, "--no-sync"] if self.extra_settings.get("fsync") == "off" else command)
        alone = [*self._as_account(), str(self.bin_dir / "postgres"), "--single", "-D", str(unfinished)]
        await _run([*alone, "postgres"], f"CREATE DATABASE {DATABASE}\n")
        unfinished.rename(self.data)
        parent = os.open(self.home, os.O_RDONLY)
        os.fsync(parent)  # the new name itself must survive a power cut
        os.close(parent)


def _make_private(folder: Path, account: Account | None) -> None:
    """Make a folder of mode 0700 that belongs to the server's user. Errors: Unavailable when it is somebody else's."""
    owner = os.geteuid() if account is None else account.user_id
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        if account is not None:
            os.chown(folder, account.user_id, account.group_id)
    found = folder.lstat()
    if not folder.is_dir() or folder.is_symlink() or found.st_uid != owner or found.st_mode & 0o077:
        raise Unavailable(
            f"{folder} must be a folder of mode 0700 that belongs to user {owner}. Remove it, or choose another"
            " ESE_DATA_DIR."
        )


async def _run(command: list[str], given: str = "") -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        # No pipe without need: a program that is done before it is written to would be an error.
        stdin=subprocess.PIPE if given else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=_SERVER_ENVIRONMENT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate(given.encode() or None)
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    text = output.decode(errors="replace")
    if process.returncode != 0:
        raise Unavailable(f"PostgreSQL could not be set up. `{' '.join(command)}` said:\n{text.strip()}")
    return text
