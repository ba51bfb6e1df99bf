import pytest

from event_stream_engine.messaging.error_codes import ERROR_CODES, describe_error_code, find_error_code

# The table of the specification, what tells that the engine's own credentials are wrong, and the toll-free sender that
# nobody verified: code and class.
SPECIFIED = {
    20003: "account",
    20429: "transient",
    21211: "number",
    21408: "configuration",
    21606: "configuration",
    21610: "consent",
    21611: "capacity",
    21614: "number",
    21617: "content",
    30001: "capacity",
    30002: "account",
    30003: "transient",
    30004: "recipient",
    30005: "number",
    30006: "number",
    30007: "content",
    30008: "transient",
    30017: "transient",
    30022: "capacity",
    30023: "capacity",
    30032: "registration",
    30034: "registration",
    30036: "capacity",
    63003: "number",
    63016: "window",
    63018: "transient",
    63024: "number",
    63038: "capacity",
    63049: "recipient",
}


def test_every_specified_code_is_in_the_catalogue_once_with_its_class() -> None:
    assert [(each.code, each.error_class) for each in ERROR_CODES] == list(SPECIFIED.items())


@pytest.mark.parametrize(
    ("code", "description", "resolution"),
    [
        (21211, "Invalid 'To' phone number", "Validate E.164 format before sending"),
        (21614, "'To' number is not a valid mobile number", "Verify mobile vs landline number type"),
        (30001, "Queue overflow", "Reduce send rate or increase rate limits"),
    ],
)
def test_documented_codes_carry_the_documents_words(code: int, description: str, resolution: str) -> None:
    found = find_error_code(code)
    assert found is not None
    assert (found.description, found.resolution) == (description, resolution)


def test_no_text_of_the_catalogue_is_empty() -> None:
    assert all(each.description and each.resolution and each.action for each in ERROR_CODES)


def test_an_unknown_code_is_described_with_where_to_read_about_it() -> None:
    assert find_error_code(99999) is None
    described = describe_error_code(99999)
    assert described.error_class == "unknown"
    assert "99999" in described.description
    assert described.resolution.endswith("/99999")
    assert describe_error_code(30007) is find_error_code(30007)
