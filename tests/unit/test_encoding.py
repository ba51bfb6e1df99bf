import pytest

from event_stream_engine.messaging.encoding import count_segments


@pytest.mark.parametrize(
    ("text", "segment_count"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("é\n@Ω" * 40, 1),
        ("ê" * 70, 1),
        ("ê" * 71, 2),
        ("ê" * 134, 2),
        ("👍" * 35, 1),
        ("👍" * 36, 2),
        ("a" * 70 + "’", 2),
    ],
)
def test_segments_follow_the_encoding(text: str, segment_count: int) -> None:
    assert count_segments(text) == segment_count
