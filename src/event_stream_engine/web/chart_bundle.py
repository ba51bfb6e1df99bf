"""The chart library for the browser, made from the one that also draws mail and PDF: no CDN, no build step, no copy."""

import asyncio
import gzip
import hashlib
import sys
from importlib.metadata import version

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from event_stream_engine.kernel.errors import Unavailable

# vega-embed brings Vega's expression interpreter with it, so pages need no 'unsafe-eval'.
_SNIPPET = "export { vegaEmbed };"
_HASH = hashlib.sha256(f"{version('vl-convert-python')} {_SNIPPET}".encode()).hexdigest()[:16]
BUNDLE_URL = f"/static/vega-{_HASH}.js"

router = APIRouter(include_in_schema=False)


class _Bundle:
    """The library, compressed, made once per process."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._compressed: bytes | None = None

    async def load(self) -> bytes:
        async with self._lock:
            if self._compressed is None:
                self._compressed = await _make_in_child()
            return self._compressed


_BUNDLE = _Bundle()


async def prepare_chart_bundle() -> None:
    """Make the library ahead of the first page; at start, as a task nobody waits for."""
    await _BUNDLE.load()


@router.get(BUNDLE_URL)
async def send_chart_bundle(request: Request) -> Response:
    body = await _BUNDLE.load()
    headers = {"cache-control": "public, max-age=31536000, immutable", "vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
    else:
        body = await asyncio.to_thread(gzip.decompress, body)
    return Response(body, media_type="text/javascript", headers=headers)


async def _make_in_child() -> bytes:
    # In this process it would hold the interpreter for two seconds and keep 95 MB (measured).
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, faults = await child.communicate()
    except asyncio.CancelledError:  # whoever ends this process leaves none behind
        child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        last_line = faults.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unavailable(
            f"The chart library could not be made: {last_line}. The tables beside the charts work."
        )
    return output


def _write_bundle() -> None:
    import vl_convert  # noqa: PLC0415 - only the child pays for it

    bundle = vl_convert.javascript_bundle(_SNIPPET)
    sys.stdout.buffer.write(gzip.compress(bundle.encode(), 9, mtime=0))


if __name__ == "__main__":
    _write_bundle()
