import json
import logging
from collections.abc import Iterator

import pytest

from event_stream_engine.infra.logs import configure_logs

NUMBER, MASKED = "+14155551234", "+1 415 ••• ••34"


@pytest.fixture(autouse=True)
def _restored_logs() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def log_everything() -> None:
    logger = logging.getLogger("engine")
    logger.info("sent to %s: 100%%", NUMBER)
    logger.info("literal %s", f"whatsapp:{NUMBER}")
    try:
        raise ValueError(f"no route to {NUMBER}")
    except ValueError:
        logger.exception("failed")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_number_leaves_in_a_log_line(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(log_format)
    log_everything()
    written = capsys.readouterr()
    lines = json.dumps(written.err, ensure_ascii=False) if log_format == "text" else written.err
    assert written.out == ""
    assert NUMBER not in lines
    assert "5551234" not in lines
    assert "Traceback" in lines
    masked = MASKED if log_format == "text" else json.dumps(MASKED)[1:-1]
    assert lines.count(masked) == 3
    assert "100%" in lines


def test_a_json_line_is_one_object_with_instant_level_and_logger(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", logging.WARNING)
    log_everything()
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert found["level"] == "error"
    assert found["logger"] == "engine"
    assert found["message"] == "failed"
    assert found["at"].endswith("Z")
    assert "ValueError" in found["exception"]
