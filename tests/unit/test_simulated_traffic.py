from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import phonenumbers
import pytest

from event_stream_engine.kernel.clock import parse_instant
from event_stream_engine.kernel.phone import split_channel
from event_stream_engine.messaging.simulated_behaviour import Behaviour
from event_stream_engine.messaging.simulated_traffic import (
    HOUR_WEIGHTS,
    draw_crowd,
    iterate_messages,
    make_history,
)

ACCOUNT = "AC5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e"
SINCE = datetime(2026, 3, 2, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=1)
BEHAVIOUR = Behaviour(people_count=500)


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return list(make_history(BEHAVIOUR, ACCOUNT, SINCE, UNTIL, 2000))


def test_a_history_is_in_order_and_inside_its_window(lines: list[dict[str, Any]]) -> None:
    received = [parse_instant(line["received_at"]) for line in lines]
    assert received == sorted(received)
    assert received[0] >= SINCE
    assert received[-1] < UNTIL
    assert received[-1] > UNTIL - timedelta(hours=1)


def test_one_seed_and_start_make_one_history(lines: list[dict[str, Any]]) -> None:
    assert list(make_history(BEHAVIOUR, ACCOUNT, SINCE, UNTIL, 2000)) == lines
    assert list(make_history(replace(BEHAVIOUR, seed=2), ACCOUNT, SINCE, UNTIL, 2000)) != lines


def test_a_later_start_repeats_no_message_but_meets_the_same_people(lines: list[dict[str, Any]]) -> None:
    later = list(make_history(BEHAVIOUR, ACCOUNT, UNTIL, UNTIL + timedelta(days=1), 2000))
    assert {line["form"]["MessageSid"] for line in lines}.isdisjoint(
        line["form"]["MessageSid"] for line in later
    )
    people = {line["form"]["To"] for line in lines if line["path"] == "/webhooks/status"}
    assert len(people & {line["form"]["To"] for line in later}) > 400


def test_a_history_holds_what_live_traffic_holds(lines: list[dict[str, Any]]) -> None:
    kinds = Counter((line["path"], line["form"].get("MessageStatus")) for line in lines)
    assert set(kinds) == {
        ("/webhooks/inbound", None),
        *(("/webhooks/status", status) for status in ("sent", "delivered", "undelivered", "failed", "read")),
    }
    messages = {line["form"]["MessageSid"] for line in lines if line["path"] == "/webhooks/status"}
    assert 1800 < len(messages) < 2200
    copies = Counter((line["form"]["MessageSid"], line["form"].get("MessageStatus")) for line in lines)
    assert max(copies.values()) == 2
    assert {line["form"]["AccountSid"] for line in lines} == {ACCOUNT}


def test_people_are_valid_numbers_of_seven_countries_and_keep_their_channel() -> None:
    crowd = draw_crowd(1, 1000, 0.4)
    numbers = [split_channel(address)[1] for address in crowd]
    parsed = [phonenumbers.parse(number) for number in numbers]
    assert all(phonenumbers.is_valid_number(number) for number in parsed)
    regions = Counter(phonenumbers.region_code_for_number(number) for number in parsed)
    assert set(regions) == {"US", "GB", "CA", "LK", "IN", "DE", "BR"}
    assert regions.most_common(1)[0][0] == "US"
    assert len(set(numbers)) == 1000
    assert 330 < sum(address.startswith("whatsapp:") for address in crowd) < 470


def test_the_day_has_a_rhythm(lines: list[dict[str, Any]]) -> None:
    hours = Counter(parse_instant(line["received_at"]).hour for line in lines)
    assert hours[10] + hours[14] > 3 * (hours[2] + hours[23])
    assert sum(HOUR_WEIGHTS) / 24 == pytest.approx(1, abs=0.005)


def test_an_incident_raises_filtering_for_some_minutes() -> None:
    calm = replace(BEHAVIOUR, incidents_per_day=0)
    stormy = replace(BEHAVIOUR, incidents_per_day=3, incident_filtered_share=1, incident_minutes=60)

    def count_filtered(behaviour: Behaviour) -> int:
        return sum(
            due.form.get("ErrorCode") == "30007"
            for message in islice(iterate_messages(behaviour, ACCOUNT, SINCE, 2), 2800)
            for due in message.callbacks
        )

    assert count_filtered(calm) < 50
    assert count_filtered(stormy) > 100
