"""The limit that counts in a container, found in trees as the kernel shows them."""

from pathlib import Path

import pytest

from event_stream_engine.monitoring.cgroups import find_cpu_limit, find_memory_limit

HOST_BYTES = 16 * 1024**3


def make_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


V2 = {
    "proc/self/cgroup": "0::/ese.slice/web.scope\n",
    "sys/fs/cgroup/ese.slice/memory.max": "1073741824\n",
    "sys/fs/cgroup/ese.slice/memory.current": "800000000\n",
    "sys/fs/cgroup/ese.slice/memory.stat": "anon 500000000\ninactive_file 300000000\n",
    "sys/fs/cgroup/ese.slice/web.scope/memory.max": "max\n",
    "sys/fs/cgroup/ese.slice/cpu.max": "max 100000\n",
    "sys/fs/cgroup/ese.slice/web.scope/cpu.max": "50000 100000\n",
    "sys/fs/cgroup/ese.slice/web.scope/cpu.stat": "usage_usec 2500000\nuser_usec 2000000\n",
}
# As a container without a namespace of its own sees it: the path is that of the host, the mount its own group.
V1 = {
    "proc/self/cgroup": "4:memory:/docker/4df7\n2:cpuacct:/docker/4df7\n1:cpu:/docker/4df7\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "800000000\n",
    "sys/fs/cgroup/memory/memory.stat": "rss 500000000\ntotal_inactive_file 300000000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpuacct/cpuacct.usage": "2500000000\n",
}


@pytest.mark.parametrize(("source", "tree"), [("cgroup v2", V2), ("cgroup v1", V1)])
def test_the_limit_of_the_control_group_counts_where_it_is_smaller_than_the_host(
    tmp_path: Path, source: str, tree: dict[str, str]
) -> None:
    root = make_tree(tmp_path, tree)
    memory, cpu = find_memory_limit(HOST_BYTES, root), find_cpu_limit(4, root)
    assert memory is not None
    assert cpu is not None
    assert (memory.source, memory.limit_bytes, memory.used_bytes()) == (source, 1024**3, 500_000_000)
    assert (cpu.source, cpu.cores, cpu.used_seconds()) == (source, 0.5, 2.5)


def test_a_limit_above_the_host_is_none(tmp_path: Path) -> None:
    root = make_tree(tmp_path, V2 | {"sys/fs/cgroup/ese.slice/web.scope/cpu.max": "400000 100000\n"})
    assert find_cpu_limit(4, root) is None
    assert find_memory_limit(1024**3, root) is None


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert find_cpu_limit(4, tmp_path) is None
    assert find_memory_limit(HOST_BYTES, tmp_path) is None


def test_unlimited_groups_leave_the_host(tmp_path: Path) -> None:
    root = make_tree(
        tmp_path,
        V1
        | {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        },
    )
    assert find_cpu_limit(4, root) is None
    assert find_memory_limit(HOST_BYTES, root) is None
