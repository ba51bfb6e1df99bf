"""A person's id tells nobody the number, and nobody makes one."""

from hypothesis import given
from hypothesis import strategies as st

from event_stream_engine.audience.references import make_reference, read_reference

KEY = "k" * 32
phones = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True).filter(str.isascii)


@given(phones, phones)
def test_id_is_the_same_each_time_and_leads_back(phone: str, other: str) -> None:
    reference = make_reference(KEY, phone)
    assert reference == make_reference(KEY, phone)
    assert read_reference(KEY, reference) == phone
    assert (make_reference(KEY, other) == reference) == (other == phone)
    assert phone[1:] not in reference


@given(phones, st.integers(0, 41), st.sampled_from("AQgw"))
def test_changed_id_or_one_of_another_key_is_none(phone: str, place: int, letter: str) -> None:
    reference = make_reference(KEY, phone)
    changed = reference[:place] + letter + reference[place + 1 :]
    assert read_reference(KEY, changed) in {None, phone if changed[:41] == reference[:41] else None}
    assert read_reference("l" * 32, reference) is None


@given(st.text(max_size=60))
def test_any_text_is_none(text: str) -> None:
    assert read_reference(KEY, text) is None
