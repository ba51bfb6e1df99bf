"""The charts of resources against Altair's schema, and what the table says."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import altair
import pytest

from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.resources import ResourcePoint, Resources, ResourceUse
from event_stream_engine.web.charts import theme
from event_stream_engine.web.periods import Period
from event_stream_engine.web.resource_charts import NOTHING, ResourceCharts, draw_resources

STEP = timedelta(minutes=5)
NOW = datetime(2026, 3, 2, 16, 45, tzinfo=UTC)
HOUR = Period("1h", "Last hour", Window(NOW - timedelta(hours=1), NOW), STEP, "5 minutes")
BINS = [NOW - number * STEP for number in range(12, 0, -1)]
LIMITS: dict[str, Any] = {
    "cpu_cores": 0.5,
    "cpu_limit": "cgroup v2",
    "memory_bytes": 10**9,
    "memory_limit": "host",
    "unknown": {"host.disk_reads_per_second": "this system does not tell"},
}


def draw(*points: ResourcePoint, uses: tuple[ResourceUse, ...] = ()) -> ResourceCharts:
    return draw_resources(Resources(list(uses), list(points), BINS), HOUR, ZoneInfo("UTC"))


BUSY = draw(
    ResourcePoint("one", "host", "cpu_percent", BINS[0], 20, 90),
    ResourcePoint("two", "host", "cpu_percent", BINS[0], 40, 50),
    ResourcePoint("one", "host", "disk_writes_per_second", BINS[0], 10, 20),
    ResourcePoint("two", "host", "disk_writes_per_second", BINS[0], 5, 6),
    uses=(
        ResourceUse(
            "one", "web", 7, NOW, {"memory_bytes": 1.2e8}, {"memory_bytes": 2e8}, {"open_files": 1024}
        ),
        ResourceUse("one", "host", 0, NOW, {"cpu_percent": 20}, {"cpu_percent": 90}, LIMITS),
    ),
)


@pytest.mark.parametrize("drawn", [BUSY, draw()], ids=["busy", "silent"])
def test_definitions_are_valid_vega_lite(drawn: ResourceCharts) -> None:
    for chart in (drawn.cpu, drawn.memory, drawn.disk, drawn.network):
        complete = {**chart.spec, "datasets": {"rows": chart.rows}, "config": theme("light")}
        altair.LayerChart.from_dict(complete)


def test_the_busiest_host_is_drawn_and_traffic_of_all_is_added_up() -> None:
    assert [text for text, _ in BUSY.cpu.table[0][1:]] == ["40.00 %", "90.00 %"]
    assert [text for text, _ in BUSY.disk.table[0][1:3]] == ["15/s", "26/s"]
    assert [text for text, _ in BUSY.cpu.table[1][1:]] == ["–", "–"]
    assert BUSY.network.nothing == NOTHING


def test_a_host_comes_before_its_processes_and_says_whose_limit_counts() -> None:
    host, web = BUSY.rows
    assert (host.is_host, host.limits) == (True, "0.5 cores, 1 GB, by cgroup v2")
    assert (web.name, web.limits, web.cells[2][0]) == ("web 7", "1,024 files", "120 MB")
    assert BUSY.unknown == ["host.disk_reads_per_second of one: this system does not tell"]
