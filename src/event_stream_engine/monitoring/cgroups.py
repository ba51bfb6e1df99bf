"""How much of its host a process may use: in a container the control group's limit counts, where it is the smaller one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MOUNT = "sys/fs/cgroup"
_MICROSECONDS, _NANOSECONDS = 1e6, 1e9


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """`used_seconds` reads what the group has used so far."""

    cores: float
    source: str
    _counter: Path

    def used_seconds(self) -> float:
        text = self._counter.read_text("ascii")
        if self._counter.name == "cpu.stat":
            return _read_table(text)["usage_usec"] / _MICROSECONDS
        return int(text) / _NANOSECONDS


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """`used_bytes` reads what the group cannot give back at once."""

    limit_bytes: int
    source: str
    _folder: Path

    def used_bytes(self) -> int:
        is_v2 = (self._folder / "memory.current").exists()
        used = int(
            (self._folder / ("memory.current" if is_v2 else "memory.usage_in_bytes")).read_text("ascii")
        )
        table = _read_table((self._folder / "memory.stat").read_text("ascii"))
        # Pages of files not touched for a while are counted as used, and given up before anything is killed.
        return max(0, used - table.get("inactive_file" if is_v2 else "total_inactive_file", 0))


def find_cpu_limit(host_cores: int, root: Path = Path("/")) -> CpuLimit | None:
    """Return the tightest limit of processor time below that of the host."""
    limits = []
    for folder in _list_groups(root, ""):
        quota, period = _read_words(folder / "cpu.max", 2)
        if quota.isdigit() and period.isdigit():
            limits.append(CpuLimit(int(quota) / int(period), "cgroup v2", folder / "cpu.stat"))
    accounted = next(_list_groups(root, "cpuacct"), None)
    for folder in _list_groups(root, "cpu"):
        (quota,), (period,) = (
            _read_words(folder / "cpu.cfs_quota_us", 1),
            _read_words(folder / "cpu.cfs_period_us", 1),
        )
        if quota.isdigit() and period.isdigit() and accounted is not None:
            limits.append(CpuLimit(int(quota) / int(period), "cgroup v1", accounted / "cpuacct.usage"))
    tightest = min(limits, key=lambda limit: limit.cores, default=None)
    return tightest if tightest is not None and tightest.cores < host_cores else None


def find_memory_limit(host_bytes: int, root: Path = Path("/")) -> MemoryLimit | None:
    """Return the tightest limit of memory below that of the host."""
    limits = []
    for controller, file, source in (
        ("", "memory.max", "cgroup v2"),
        ("memory", "memory.limit_in_bytes", "cgroup v1"),
    ):
        for folder in _list_groups(root, controller):
            (text,) = _read_words(folder / file, 1)
            if text.isdigit():
                limits.append(MemoryLimit(int(text), source, folder))
    tightest = min(limits, key=lambda limit: limit.limit_bytes, default=None)
    return tightest if tightest is not None and tightest.limit_bytes < host_bytes else None


def _list_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of our group and those above it; '' is the one hierarchy of version 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            mount = root / _MOUNT / controller
            folder = mount / path.lstrip("/")
            for group in (folder, *folder.parents):
                # In a container without a namespace of its own the path is the host's, and only the mount is there.
                if group.is_dir():
                    yield group
                if group == mount:
                    return


def _read_words(file: Path, count: int) -> list[str]:
    try:
        words = file.read_text("ascii").split()
    except OSError:
        words = []
    return (words + [""] * count)[:count]


def _read_table(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}
