"""A process looks at itself and its host: real figures, no difference at first, never a crash."""

import os
import time
from pathlib import Path

import psutil
import pytest

from event_stream_engine.monitoring.sampling import HOST_METRICS, PROCESS_METRICS, Sampler
from tests.unit.test_cgroups import V2, make_tree


def test_the_first_look_has_no_figure_that_needs_a_look_before(tmp_path: Path) -> None:
    sample = Sampler(tmp_path).look()
    assert not [name for name in (*sample.host, *sample.process) if "second" in name or name == "cpu_percent"]
    assert sample.process["memory_bytes"] > 1024**2
    assert sample.process["open_files"] >= 1
    assert 0 < sample.host["disk_percent"] <= 100


def test_the_next_look_has_every_figure_or_its_reason(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    sampler.look()
    began = time.process_time()
    while time.process_time() - began < 0.3:
        pass
    sample = sampler.look()
    for scope, names, found in (
        ("host", HOST_METRICS, sample.host),
        ("process", PROCESS_METRICS, sample.process),
    ):
        assert {name for name in names if name in found or f"{scope}.{name}" in sample.unknown} == set(names)
    assert sample.process["cpu_percent"] > 10
    assert sample.pid == os.getpid()


def test_what_cannot_be_measured_has_a_reason_and_the_rest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise PermissionError(13, "Permission denied", "/proc/diskstats")

    monkeypatch.setattr(psutil, "disk_io_counters", refuse)
    sampler = Sampler(tmp_path / "missing")
    sample = sampler.look()
    assert "/proc/diskstats" in sample.unknown["host.disk_reads_per_second"]
    assert "No such file" in sample.unknown["host.disk_percent"]
    assert "memory_percent" in sample.host


def test_a_counter_that_began_anew_gives_no_figure(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path)
    sampler._rate("bytes", 1000)
    time.sleep(0.01)
    assert sampler._rate("bytes", 10) is None
    time.sleep(0.01)
    assert sampler._rate("bytes", 20) is not None


def test_in_a_container_its_limits_count_and_are_named(tmp_path: Path) -> None:
    root = make_tree(tmp_path, V2)
    sampler = Sampler(tmp_path, root)
    assert "cpu_percent" not in sampler.look().host
    time.sleep(0.01)
    make_tree(root, {"sys/fs/cgroup/ese.slice/web.scope/cpu.stat": "usage_usec 99000000\n"})
    sample = sampler.look()
    assert sample.host["memory_used_bytes"] == 500_000_000
    assert sample.host["memory_percent"] == pytest.approx(100 * 500_000_000 / 1024**3)
    assert sample.host["cpu_percent"] > 100
    assert (sample.limits["memory_limit"], sample.limits["cpu_limit"], sample.limits["cpu_cores"]) == (
        "cgroup v2",
        "cgroup v2",
        0.5,
    )
