"""What the engine's hosts and processes use."""

from event_stream_engine.analytics.metric import REQUESTED, Metric, Note, Subject, list_answers
from event_stream_engine.analytics.metric import RESOURCES as ENDPOINT


def _measure(name: str, title: str, unit: str, formula: str, note: str = "") -> Metric:
    paths = (f"uses.*.figures.{name}.mean", f"uses.*.figures.{name}.peak", f"series.*.means.{name}.*")
    return Metric(
        f"resource_{name}",
        title,
        unit,
        formula,
        list_answers(ENDPOINT, *paths),
        ("resource_rollups",),
        note=note,
        window=REQUESTED,
        freshness="every 10 s",
    )


_LIMIT = "In a container of what its control group allows; the answer says whose limit was used."
_DATA = "the file system of `ESE_DATA_DIR`"

RESOURCES = Subject(
    "resources",
    "Resources",
    "What do the engine’s hosts and processes use?",
    notes=(
        Note("Samples", "Each process samples itself and its host every 10 s, all at the same instants."),
        Note(
            "Kept",
            "By minute for 3 days and by quarter-hour for 400 days. Several samples of one host are one mean.",
        ),
        Note("First sample", "What is a difference of two has no figure after the first one."),
        Note("Series", "Of processes: of all of a kind on a host together."),
    ),
    metrics=(
        _measure(
            "cpu_percent",
            "Processor",
            "%",
            "time in use, of all cores of a host, or of one core by a process",
            _LIMIT,
        ),
        _measure("load_1m", "Load", "tasks", "tasks that run or want to, mean of a minute"),
        _measure("memory_percent", "Memory used", "%", "memory used, of all there is", _LIMIT),
        _measure("memory_used_bytes", "Memory used", "bytes", "what could not be given up at once", _LIMIT),
        _measure(
            "memory_available_bytes",
            "Memory available",
            "bytes",
            "what can be had without anything being killed",
            _LIMIT,
        ),
        _measure("memory_bytes", "Memory of a process", "bytes", "its resident memory"),
        _measure("disk_percent", "Disk used", "%", f"used, of {_DATA}"),
        _measure("disk_free_bytes", "Disk free", "bytes", f"free for us on {_DATA}"),
        _measure("disk_read_bytes_per_second", "Read from disks", "bytes", "bytes read a second, all disks"),
        _measure(
            "disk_write_bytes_per_second", "Written to disks", "bytes", "bytes written a second, all disks"
        ),
        _measure("disk_reads_per_second", "Reads", "operations", "reads a second, all disks"),
        _measure("disk_writes_per_second", "Writes", "operations", "writes a second, all disks"),
        _measure(
            "network_received_bytes_per_second",
            "Received",
            "bytes",
            "bytes received a second, all cards but the loopback",
        ),
        _measure(
            "network_sent_bytes_per_second",
            "Sent",
            "bytes",
            "bytes sent a second, all cards but the loopback",
        ),
        _measure("open_files", "Open files", "files", "files and connections that a process holds open"),
        _measure(
            "open_files_percent",
            "Share of open files",
            "%",
            "open files, of those a process may have",
            "In a series that of the process nearest to its limit.",
        ),
        _measure("threads", "Threads", "threads", "threads of a process"),
    ),
)
