from event_stream_engine.web.sparklines import HEIGHT, WIDTH, draw_sparkline


def test_line_rises_to_the_right_edge_when_the_figure_rises() -> None:
    line = draw_sparkline([10, 20, 40])
    assert line is not None
    assert line.path.startswith("M3.0 21.0L")
    assert (line.end_x, line.end_y) == (WIDTH - 3, 3.0)


def test_unknown_point_is_a_gap_and_not_a_zero() -> None:
    line = draw_sparkline([10, 12, None, 11, 10])
    assert line is not None
    assert line.path.count("M") == 2


def test_noise_of_a_steady_figure_stays_near_the_middle() -> None:
    line = draw_sparkline([99.97, 99.96, 99.97])
    assert line is not None
    assert abs(line.end_y - HEIGHT / 2) < 0.1


def test_all_zero_is_a_line_in_the_middle() -> None:
    line = draw_sparkline([0, 0, 0])
    assert line is not None
    assert line.end_y == HEIGHT / 2


def test_fewer_than_two_known_points_are_no_line() -> None:
    assert draw_sparkline([]) is None
    assert draw_sparkline([None, 4, None]) is None
