import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from event_stream_engine.ingest.callbacks import make_event
from event_stream_engine.ingest.importing import _read_lines, read_line
from event_stream_engine.kernel.errors import Invalid

GOOD: dict[str, Any] = {
    "received_at": "2026-03-02T00:03:32.834945Z",
    "path": "/webhooks/status",
    "form": {"MessageSid": "SM1", "MessageStatus": "sent", "To": "+14155551234"},
}


def test_a_line_is_the_event_its_webhook_would_have_been() -> None:
    received_at = datetime(2026, 3, 2, 0, 3, 32, 834945, tzinfo=UTC)
    assert read_line(orjson.dumps(GOOD)) == make_event("receipt", GOOD["form"], received_at, None)


def test_a_repeated_parameter_is_a_list() -> None:
    event = read_line(orjson.dumps(GOOD | {"form": {"MediaUrl": ["a", "b"]}}))
    assert orjson.loads(event.payload) == {"MediaUrl": ["a", "b"]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "no JSON: "),
        (b'{"path": "\xff"}', "no JSON: "),
        (b"[" * 100_000, "no JSON: "),
        (b"[]", "no JSON object"),
        ({"path": "/webhooks/other"}, "path must be one of"),
        ({"path": None}, "path must be one of"),
        ({"path": ["/webhooks/status"]}, "path must be one of"),
        ({"path": {}}, "path must be one of"),
        ({"form": None}, "form must be an object"),
        ({"form": {}}, "form must be an object"),
        ({"form": ["a"]}, "form must be an object"),
        ({"form": {"NumMedia": 0}}, "form must be an object"),
        ({"form": {"MediaUrl": ["a", 1]}}, "form must be an object"),
        ({"received_at": "yesterday"}, "received_at: "),
        ({"received_at": "2026-03-02T00:03:32"}, "received_at: "),
        ({"received_at": 1772409812}, "received_at: "),
        ({"received_at": None}, "received_at: "),
        ({"received_at": "0001-01-01T00:00:00+12:00"}, "received_at: "),
        ({"received_at": "9999-12-31T23:59:59-12:00"}, "received_at: "),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(line: bytes | dict[str, Any], reason: str) -> None:
    text = line if isinstance(line, bytes) else orjson.dumps(GOOD | line)
    with pytest.raises(Invalid) as caught:
        read_line(text)
    assert str(caught.value).startswith(reason)


@pytest.mark.parametrize("missing", list(GOOD))
def test_a_line_without_one_of_its_parts_is_refused(missing: str) -> None:
    with pytest.raises(Invalid, match=missing):
        read_line(orjson.dumps({name: part for name, part in GOOD.items() if name != missing}))


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"lines.ndjson{suffix}"
    text = b"one\n\n  \r\nfour\r\nfive"
    file.write_bytes(gzip.compress(text) if suffix else text)
    assert [(number, line) for number, line, _ in _read_lines(file)] == [
        (1, b"one"),
        (4, b"four"),
        (5, b"five"),
    ]


CONTENTS = [b"no gzip at all", gzip.compress(b"x" * 10_000, mtime=0)[:40], None]


@pytest.mark.parametrize("content", CONTENTS, ids=["not packed", "cut off", "missing"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "lines.ndjson.gz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Invalid, match=r"lines\.ndjson\.gz cannot be read"):
        list(_read_lines(file))
