"""One look of a process at itself and at its host. It blocks for a few milliseconds: not for the event loop."""

import os
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from event_stream_engine.monitoring.cgroups import find_cpu_limit, find_memory_limit

# What each look measures; a rate needs the look before, so the first has none.
HOST_METRICS = (
    "cpu_percent",
    "load_1m",
    "memory_percent",
    "memory_used_bytes",
    "memory_available_bytes",
    "disk_percent",
    "disk_free_bytes",
    "disk_read_bytes_per_second",
    "disk_write_bytes_per_second",
    "disk_reads_per_second",
    "disk_writes_per_second",
    "network_received_bytes_per_second",
    "network_sent_bytes_per_second",
)
PROCESS_METRICS = ("cpu_percent", "memory_bytes", "open_files", "open_files_percent", "threads")


@dataclass(slots=True)
class Sample:
    """What was found. `unknown` has the reason of each figure that could not be measured, `host.…` or `process.…`."""

    host_name: str
    pid: int
    host: dict[str, float] = field(default_factory=dict)
    process: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    limits: dict[str, float | str] = field(default_factory=dict)


class Sampler:
    """Looks again and again, and remembers the counters of the look before."""

    def __init__(self, data_dir: Path, root: Path = Path("/")) -> None:
        self._data_dir = data_dir
        self._process = psutil.Process()
        self._cpu_limit = find_cpu_limit(psutil.cpu_count() or 1, root)
        self._memory_limit = find_memory_limit(psutil.virtual_memory().total, root)
        self._counters: dict[str, tuple[float, float]] = {}  # name: (value, when)

    def look(self) -> Sample:
        """Measure everything; what cannot be measured is left out with its reason."""
        sample = Sample(socket.gethostname(), os.getpid())
        for scope, names, measure in (
            ("host", HOST_METRICS[:1], self._measure_cpu),
            ("host", HOST_METRICS[1:2], self._measure_load),
            ("host", HOST_METRICS[2:5], self._measure_memory),
            ("host", HOST_METRICS[5:7], self._measure_disk),
            ("host", HOST_METRICS[7:11], self._measure_disk_traffic),
            ("host", HOST_METRICS[11:], self._measure_network),
            ("process", PROCESS_METRICS[:2], self._measure_process),
            ("process", PROCESS_METRICS[2:4], self._measure_files),
            ("process", PROCESS_METRICS[4:], self._measure_threads),
        ):
            self._try(sample, scope, names, measure)
        return sample

    def _try(
        self,
        sample: Sample,
        scope: str,
        names: tuple[str, ...],
        measure: Callable[[Sample], tuple[float | None, ...]],
    ) -> None:
        try:
            values = measure(sample)
        except (OSError, psutil.Error, ValueError, KeyError, NotImplementedError) as error:
            reason = f"{type(error).__name__}: {error}"
            sample.unknown |= {f"{scope}.{name}": reason for name in names}
            return
        found = sample.host if scope == "host" else sample.process
        found |= {name: value for name, value in zip(names, values, strict=True) if value is not None}

    def _rate(self, name: str, value: float) -> float | None:
        """Return the growth of a counter a second since the look before; None at first and when it began anew."""
        now = time.monotonic()
        before, when = self._counters.get(name, (value, now))
        self._counters[name] = (value, now)
        return (value - before) / (now - when) if now > when and value >= before else None

    def _measure_cpu(self, sample: Sample) -> tuple[float | None, ...]:
        if self._cpu_limit is not None:
            sample.limits |= {"cpu_cores": self._cpu_limit.cores, "cpu_limit": self._cpu_limit.source}
            used = self._rate("cpu", self._cpu_limit.used_seconds())
            return (None if used is None else 100 * used / self._cpu_limit.cores,)
        sample.limits |= {"cpu_cores": psutil.cpu_count() or 1, "cpu_limit": "host"}
        times = psutil.cpu_times()._asdict()
        # The time of guests is in that of users, too; waiting for a disk is idle.
        total = sum(times.values()) - times.get("guest", 0) - times.get("guest_nice", 0)
        idle = self._rate("idle", times["idle"] + times.get("iowait", 0))
        spent = self._rate("total", total)
        return (None if not spent or idle is None else min(100.0, max(0.0, 100 * (1 - idle / spent))),)

    def _measure_load(self, _: Sample) -> tuple[float | None, ...]:
        return (psutil.getloadavg()[0],)

    def _measure_memory(self, sample: Sample) -> tuple[float | None, ...]:
        if self._memory_limit is not None:
            limit, used = self._memory_limit.limit_bytes, self._memory_limit.used_bytes()
            sample.limits |= {"memory_bytes": limit, "memory_limit": self._memory_limit.source}
            return 100 * used / limit, used, max(0, limit - used)
        memory = psutil.virtual_memory()
        sample.limits |= {"memory_bytes": memory.total, "memory_limit": "host"}
        return memory.percent, memory.total - memory.available, memory.available

    def _measure_disk(self, _: Sample) -> tuple[float | None, ...]:
        usage = psutil.disk_usage(str(self._data_dir))
        return usage.percent, usage.free

    def _measure_disk_traffic(self, _: Sample) -> tuple[float | None, ...]:
        disk = psutil.disk_io_counters()
        if disk is None:
            raise NotImplementedError("this system does not tell what its disks do")
        return (
            self._rate("disk read", disk.read_bytes),
            self._rate("disk written", disk.write_bytes),
            self._rate("disk reads", disk.read_count),
            self._rate("disk writes", disk.write_count),
        )

    def _measure_network(self, _: Sample) -> tuple[float | None, ...]:
        # What goes over the loopback never leaves the host.
        cards = [
            card for name, card in psutil.net_io_counters(pernic=True).items() if not name.startswith("lo")
        ]
        if not cards:
            raise NotImplementedError("there is no network card but the loopback")
        return (
            self._rate("received", sum(card.bytes_recv for card in cards)),
            self._rate("sent", sum(card.bytes_sent for card in cards)),
        )

    def _measure_process(self, _: Sample) -> tuple[float | None, ...]:
        times = self._process.cpu_times()
        used = self._rate("process", times.user + times.system)
        return None if used is None else 100 * used, self._process.memory_info().rss

    def _measure_files(self, sample: Sample) -> tuple[float | None, ...]:
        files, (limit, _) = self._process.num_fds(), resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            return files, None
        sample.limits["open_files"] = limit
        return files, 100 * files / limit

    def _measure_threads(self, _: Sample) -> tuple[float | None, ...]:
        return (self._process.num_threads(),)
