import base64
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict
from twilio.request_validator import RequestValidator

from event_stream_engine.kernel.errors import Invalid
from event_stream_engine.messaging.webhooks import (
    is_json_signature_valid,
    is_signature_valid,
    make_storable,
    parse_form,
    sign_request,
)

TOKEN = "2b7e151628aed2a6abf7158809cf4f3c"
URL = "https://engine.example.com/webhooks/status?m=0191"

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
parameters = st.lists(st.tuples(texts | st.sampled_from(["To", "Body", "From"]), texts), max_size=12)
hosts = st.sampled_from(["engine.example.com", "10.0.0.7", "LocalHost", "me:pw@engine.example.com", "[::1]"])
ports = st.sampled_from(["", ":80", ":443", ":8000", ":0", ":65535", ":08", ":10000", ":59999"])
rests = st.sampled_from(
    ["", "/", "/webhooks/status", "?a=b", "//x", "/a;", "/a;b?c;", "/a?", "/a??", "/a?b=%20&c"]
)
urls = st.builds("{}://{}{}{}".format, st.sampled_from(["http", "https", "HTTPS"]), hosts, ports, rests)


def group(pairs: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def expect_form(body: bytes) -> dict[str, str | list[str]]:
    return group(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"))


@given(parameters)
def test_parameters_survive_encoding(pairs: list[tuple[str, str]]) -> None:
    assert parse_form(urlencode(pairs).encode()) == group(pairs)


@given(st.text("aZ&=+%;09fF4 é\ufffd\x00", max_size=40).map(str.encode) | st.binary(max_size=40))
def test_any_body_is_read_as_the_standard_library_reads_it(body: bytes) -> None:
    assert parse_form(body) == expect_form(body)


@given(
    st.lists(
        st.sampled_from(["%C3", "%A9", "%f0", "%9f", "%91%8d", "%ED%A0%80", "%", "%4", "a", "=", "&", "é"])
    )
)
def test_torn_escapes_are_read_as_the_standard_library_reads_them(pieces: list[str]) -> None:
    body = "".join(pieces).encode()
    assert parse_form(body) == expect_form(body)


def test_a_repeated_parameter_keeps_all_values_in_order() -> None:
    assert parse_form(b"a=2&b=&a=1&a=2") == {"a": ["2", "1", "2"], "b": ""}


def test_a_thousand_parameters_are_read_and_one_more_is_refused() -> None:
    thousand = b"&".join(b"p%d=" % n for n in range(1000))
    assert len(parse_form(thousand)) == 1000
    with pytest.raises(Invalid, match="1000 parameters"):
        parse_form(thousand + b"&q=1")


def test_nul_and_lone_surrogates_are_replaced_in_the_stored_form_only() -> None:
    form = parse_form(b"Body=a%00b&n%00=1&x=%00&x=2") | {"y": "\ud800!"}
    assert form["Body"] == "a\x00b"
    assert make_storable(form) == {"Body": "a\ufffdb", "n\ufffd": "1", "x": ["\ufffd", "2"], "y": "\ufffd!"}
    assert is_signature_valid([TOKEN], URL, form, sign_request(TOKEN, URL, form))


@given(parameters)
def test_a_storable_form_is_stored_unchanged(pairs: list[tuple[str, str]]) -> None:
    form = group([(name.replace("\0", ""), value.replace("\0", "")) for name, value in pairs])
    assert make_storable(form) == form


@given(parameters)
def test_signature_equals_the_sdks(pairs: list[tuple[str, str]]) -> None:
    expected = RequestValidator(TOKEN).compute_signature(URL, MultiDict(pairs))
    assert sign_request(TOKEN, URL, group(pairs)) == expected


@given(parameters, urls, urls)
def test_a_url_is_accepted_exactly_when_the_sdk_accepts_it(
    pairs: list[tuple[str, str]], signed_url: str, url: str
) -> None:
    signature = sign_request(TOKEN, signed_url, group(pairs))
    for called in (url, signed_url):
        expected = RequestValidator(TOKEN).validate(called, MultiDict(pairs), signature)
        assert is_signature_valid([TOKEN], called, group(pairs), signature) == expected


@pytest.mark.parametrize(
    ("signed", "called", "is_valid"),
    [
        ("https://h.example/w", "https://h.example:443/w", True),
        ("https://h.example:443/w", "https://h.example/w", True),
        ("http://h.example:80/w?a=1", "http://h.example/w?a=1", True),
        ("http://h.example/w", "http://h.example:8000/w", True),
        ("https://h.example:80/w", "https://h.example/w", False),
        ("http://h.example/w", "https://h.example/w", False),
        ("https://h.example/w#rc=5&rp=5xx", "https://h.example/w", True),
        ("https://h.example/w", "https://h.example/w#rc=5&rp=5xx", True),
        ("https://h.example/w?a=1", "https://h.example/w", False),
    ],
)
def test_port_and_fragment(signed: str, called: str, is_valid: bool) -> None:
    assert (
        is_signature_valid([TOKEN], called, {"a": "b"}, sign_request(TOKEN, signed, {"a": "b"})) is is_valid
    )


def test_both_tokens_hold_during_a_rotation() -> None:
    signature = sign_request(TOKEN, URL, {})
    assert is_signature_valid(["new", TOKEN], URL, {}, signature)
    assert not is_signature_valid(["new"], URL, {}, signature)
    assert not is_signature_valid([], URL, {}, signature)


@pytest.mark.parametrize("signature", ["", "é", "\udcff", "AAAA", "0" * 28])
def test_a_foreign_signature_is_refused(signature: str) -> None:
    assert not is_signature_valid([TOKEN], URL, {"a": "b"}, signature)


@given(parameters, st.data())
def test_any_changed_parameter_breaks_the_signature(
    pairs: list[tuple[str, str]], data: st.DataObject
) -> None:
    form = group([*pairs, ("MessageStatus", "sent")])
    signature = sign_request(TOKEN, URL, form)
    name = data.draw(st.sampled_from(sorted(form)))
    value = form[name]
    changed = form | {name: value + "x" if isinstance(value, str) else [*value, max(value) + "x"]}
    assert is_signature_valid([TOKEN], URL, form, signature)
    assert not is_signature_valid([TOKEN], URL, changed, signature)


@given(texts, texts, st.booleans(), urls)
def test_json_bodies_are_accepted_exactly_when_the_sdk_accepts_them(
    body: str, other: str, is_signed: bool, url: str
) -> None:
    digest = hashlib.sha256(body.encode()).hexdigest()
    url = f"{url}{'&' if '?' in url else '?'}bodySHA256={digest}"
    signature = sign_request(TOKEN if is_signed else "other", url, {})
    for sent in (body, other):
        expected = RequestValidator(TOKEN).validate(url, sent, signature)
        assert is_json_signature_valid([TOKEN], url, sent.encode(), signature) == expected


def test_a_json_body_without_its_hash_in_the_url_is_refused() -> None:
    assert not is_json_signature_valid([TOKEN], URL, b"{}", sign_request(TOKEN, URL, {}))


def test_the_documented_recipe_gives_the_signature() -> None:
    message = b"https://engine.example.com/w?a=1" + b"CallSidCA1" + b"Digits12" + b"Digits9" + b"Empty"
    expected = base64.b64encode(hmac.new(TOKEN.encode(), message, hashlib.sha1).digest()).decode()
    form = {"Empty": "", "Digits": ["9", "12", "9"], "CallSid": "CA1"}
    assert sign_request(TOKEN, "https://engine.example.com/w?a=1", form) == expected
