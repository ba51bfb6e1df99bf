"""Documents for print: a Typst template, what it is filled with, and charts from the same definitions as the pages.

In a process of its own: the chart library alone would hold this one for two seconds and keep 95 MB (measured).
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from event_stream_engine.kernel.errors import Unavailable
from event_stream_engine.web.charts import Chart, theme

DEADLINE_SECONDS = 60
_ONE_AT_A_TIME = asyncio.Semaphore(1)  # each takes a core for about two seconds
COMMON = "print.typ"  # what templates import
CHART_WIDTH, CHART_HEIGHT = 620, 160  # pixels; the text comes out as large as that of a table


async def typeset(template: str, data: Mapping[str, Any], charts: Sequence[Chart] = ()) -> bytes:
    """Fill a template of web/templates and return the document as PDF.

    The template finds `data` as JSON in `sys.inputs.data`, and the charts as chart-1.svg and so on.
    Errors: Unavailable.
    """
    order = {
        "template": template,
        "data": data,
        "charts": [_complete(chart) for chart in charts],
    }
    async with _ONE_AT_A_TIME:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            __name__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                output, faults = await child.communicate(orjson.dumps(order))
        except (TimeoutError, asyncio.CancelledError) as error:  # whoever ends leaves no process behind
            child.kill()
            await child.wait()
            if isinstance(error, TimeoutError):
                raise Unavailable("The document takes too long to make. Try again in a moment.") from None
            raise
    if child.returncode != 0:
        last_line = faults.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unavailable(f"The document could not be made: {last_line}")
    return output


def _complete(chart: Chart) -> dict[str, Any]:
    """Return a definition that needs nothing more: its rows, its size, the colours of a light page."""
    return {
        **chart.spec,
        "data": {"values": chart.rows},
        "width": CHART_WIDTH,
        "height": CHART_HEIGHT,
        "config": theme("light"),
    }


def _write_document() -> None:
    import typst  # noqa: PLC0415 - only the child pays for it
    import vl_convert  # noqa: PLC0415 - as above

    order = orjson.loads(sys.stdin.buffer.read())
    templates = resources.files("event_stream_engine.web").joinpath("templates")
    data = orjson.dumps(order["data"]).decode()
    with TemporaryDirectory(prefix="ese-document-") as made:
        folder = Path(made)
        for name in (order["template"], COMMON):
            (folder / name).write_bytes(templates.joinpath(name).read_bytes())
        for number, spec in enumerate(order["charts"], 1):
            (folder / f"chart-{number}.svg").write_text(vl_convert.vegalite_to_svg(spec), "utf-8")
        sys.stdout.buffer.write(
            typst.compile(folder / order["template"], root=folder, sys_inputs={"data": data})
        )


if __name__ == "__main__":
    _write_document()
