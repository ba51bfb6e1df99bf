"""Which buckets cover a window, and what of a statement may be seen."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.kernel.windows import Window
from event_stream_engine.monitoring.postgres_buckets import GRAINS, MINUTE, QUARTER, cover, kept_since
from event_stream_engine.monitoring.postgres_text import find_purpose, mask_literals, shorten

NOW = datetime(2026, 3, 2, 12, 7, 30, tzinfo=UTC)
SIZES = {grain: size for grain, size, _ in GRAINS}


@given(st.integers(0, 500 * 86400), st.integers(1, 400 * 86400))
def test_buckets_cover_the_window_without_gap_or_overlap_and_are_still_kept(ago: int, length: int) -> None:
    until = NOW - timedelta(seconds=ago)
    asked = Window(until - timedelta(seconds=length), until)
    found = cover(asked, NOW)
    at = found.window.since
    for grain, run in found.runs:
        assert run.since == at
        assert run.since >= kept_since(grain, NOW)
        assert run.length % SIZES[grain] == timedelta(0)
        at = run.until
    assert at == found.window.until
    since = max(asked.since, kept_since("day", NOW))
    if since < asked.until:
        assert found.window.since <= since
        assert found.window.until >= asked.until


def test_recent_edges_are_minutes_and_the_middle_is_coarse() -> None:
    found = cover(Window(NOW - timedelta(hours=24), NOW), NOW)
    assert [grain for grain, _ in found.runs] == ["minute", "quarter", "minute"]
    assert found.window == Window(NOW.replace(second=0) - timedelta(hours=24), NOW.replace(second=0) + MINUTE)


def test_edges_whose_minutes_are_gone_move_to_the_quarter_hour() -> None:
    since = NOW - timedelta(days=7)
    found = cover(Window(since, NOW), NOW)
    assert found.window.since == datetime(2026, 2, 23, 12, 0, tzinfo=UTC)
    assert since - found.window.since < QUARTER
    assert "day" in [grain for grain, _ in found.runs]


def test_literals_are_taken_out_and_the_statement_stays_readable() -> None:
    assert (
        mask_literals("SELECT $1, id FROM events_20260302 WHERE x = 12")
        == "SELECT $1, id FROM events_20260302 WHERE x = 12"
    )
    assert mask_literals("ALTER ROLE a PASSWORD 'it''s'") == "ALTER ROLE a PASSWORD '…'"
    assert mask_literals("DO $x$ secret 'y' $x$ LANGUAGE sql") == "DO '…' LANGUAGE sql"
    assert mask_literals("x = 'cut in the mid") == "x = '…'"
    assert mask_literals("phone = 14155551234") == "phone = …"
    assert mask_literals("-- for: somebody's own\nSELECT 'x'") == "-- for: somebody's own\nSELECT '…'"


def test_purpose_of_a_query_of_ours_is_known_and_its_line_has_no_comment() -> None:
    text = "SELECT\n-- for: how far it is\n-- note: none\n a, b /* c */\nFROM d"
    assert find_purpose(text) == "how far it is"
    assert find_purpose("SELECT 1") is None
    assert shorten(text) == "SELECT a, b FROM d"
    assert shorten("x" * 200, 10) == "x" * 9 + "…"
