import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from event_stream_engine.infra.logs import carry_log_fields, configure_logs

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


def read_lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_what_a_line_speaks_of_is_in_fields_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    logging.getLogger("engine").info("handed over", extra={"message_id": "0198", "attempts": 2})
    (line,) = read_lines(capsys)
    assert (line["message_id"], line["attempts"]) == ("0198", 2)
    assert set(line) == {"at", "level", "logger", "process", "message", "message_id", "attempts"}


def test_no_field_stands_in_for_one_that_every_line_has(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    logging.getLogger("engine").info("true", extra={"level": "false", "at": "never"})
    (line,) = read_lines(capsys)
    assert line["level"] == "info"
    assert line["at"].endswith("Z")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_number_leaves_in_a_field_however_deep(
    log_format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs(log_format)
    extra = {"to": NUMBER, "row": {"phones": [f"whatsapp:{NUMBER}"], NUMBER: 1}, "error": ValueError(NUMBER)}
    logging.getLogger("engine").info("sent", extra=extra)
    written = capsys.readouterr().err
    assert "5551234" not in written
    assert written.count("••34" if log_format == "text" else r"\u2022\u202234") == 4


def test_no_number_leaves_as_part_of_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")
    logging.getLogger("library").info("GET /api/v1/users/%s", NUMBER.replace("+", "%2B"))
    (line,) = read_lines(capsys)
    assert line["message"] == f"GET /api/v1/users/{MASKED}"


async def test_a_task_carries_its_fields_and_no_other_task_does(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json")

    async def work(number: int) -> None:
        carry_log_fields(request_id=f"r{number}")
        await asyncio.sleep(0)
        await asyncio.create_task(speak())

    async def speak() -> None:
        logging.getLogger("engine").info("working")

    await asyncio.gather(work(1), work(2))
    await speak()
    assert [line.get("request_id") for line in read_lines(capsys)] == ["r1", "r2", None]


def test_text_shows_fields_at_the_end_of_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("text")
    logging.getLogger("engine").warning("not sent", extra={"message_id": "0198"})
    assert capsys.readouterr().err.endswith("W engine: not sent (message_id=0198)\n")
