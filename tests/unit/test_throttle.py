from event_stream_engine.access.throttle import PER_ADDRESS, PER_EMAIL, _address_subject, _email_subject


def test_one_address_cannot_use_up_an_email_for_ever() -> None:
    assert PER_ADDRESS.refill > PER_EMAIL.refill


def test_addresses_of_one_ipv6_network_count_together() -> None:
    assert _address_subject("2001:db8:1:2::1") == _address_subject("2001:db8:1:2:ffff::9")
    assert _address_subject("2001:db8:1:2::1") != _address_subject("2001:db8:1:3::1")


def test_an_ipv4_address_counts_the_same_when_mapped_into_ipv6() -> None:
    assert _address_subject("::ffff:192.0.2.1") == _address_subject("192.0.2.1")
    assert _address_subject("192.0.2.1") != _address_subject("192.0.2.2")


def test_the_case_of_an_email_does_not_matter() -> None:
    assert _email_subject(" Ana@Example.com ") == _email_subject("ana@example.com")
