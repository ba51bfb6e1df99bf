from random import Random

import pytest

from event_stream_engine.analytics import senders


@pytest.mark.parametrize("count", [0, 5, 1200, 9000])
def test_sketches_are_the_same_whatever_the_order_and_differ_by_one_person(count: int) -> None:
    people = [f"+999{number:012d}" for number in range(count)]
    shuffled = people * 2
    Random(1).shuffle(shuffled)
    one = senders._add_up([], people).serialize_compact()
    halves = [senders._add_up([], shuffled[:count]), senders._add_up([], shuffled[count:])]
    other = senders._add_up([half.serialize_compact() for half in halves]).serialize_compact()
    assert senders.is_same(one, other)
    more = senders._add_up([one], [f"+999{number:012d}" for number in range(count, count + 20)])
    assert not senders.is_same(one, more.serialize_compact())
