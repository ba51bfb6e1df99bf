"""How long a notification waits before it is tried again."""

from event_stream_engine.notifications.deliveries import choose_pause


def test_pauses_grow_to_a_quarter_of_an_hour_and_no_two_workers_come_back_together() -> None:
    for attempts, seconds in enumerate((5, 15, 60, 300, 900, 900, 900)):
        chosen = {choose_pause(attempts).total_seconds() for _ in range(50)}
        assert all(0.8 * seconds <= one <= 1.2 * seconds for one in chosen)
        assert len(chosen) > 1
