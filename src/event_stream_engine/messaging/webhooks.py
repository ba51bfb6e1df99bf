"""The provider's webhooks as bytes and strings: parameters out of a body, and whether the signature holds.

Pure, and on the path of every webhook.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qs, urlparse, urlsplit

from event_stream_engine.kernel.errors import Invalid

Form = Mapping[str, str | list[str]]

MAX_PARAMETER_COUNT = 1000
_ESCAPES = re.compile("(?:%[0-9A-Fa-f]{2})+")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
# No user, no IPv6 address, no fragment, no `;`, no empty query: what urlparse gives back unchanged. Its way costs
# 10 µs more than this expression.
_ORDINARY_URL = re.compile(
    r'(https?)://([A-Za-z0-9.-]+)(:[1-5]?[1-9][0-9]{0,3})?((?:/[!"$-:<-~]*)?(?<!\?))\Z'
)


def parse_form(body: bytes) -> dict[str, str | list[str]]:
    """Read a form-encoded body exactly as it was sent, blank values included.

    Shape: a repeated parameter is the list of its values in order. Bytes that are no UTF-8 become U+FFFD.
    Errors: Invalid above 1,000 parameters.
    """
    if body.count(b"&") >= MAX_PARAMETER_COUNT:
        raise Invalid(f"The body has more than {MAX_PARAMETER_COUNT} parameters.")
    form: dict[str, str | list[str]] = {}
    for parameter in body.decode("utf-8", "replace").replace("+", " ").split("&"):
        if not parameter:
            continue
        name, _, value = parameter.partition("=")
        if "%" in parameter:
            name, value = _ESCAPES.sub(_unescape, name), _ESCAPES.sub(_unescape, value)
        if name not in form:
            form[name] = value
        elif isinstance(earlier := form[name], list):
            earlier.append(value)
        else:
            form[name] = [earlier, value]
    return form


def _unescape(escapes: re.Match[str]) -> str:
    return bytes.fromhex(escapes[0].replace("%", "")).decode("utf-8", "replace")


def make_storable(form: Form) -> Form:
    """Replace what PostgreSQL cannot keep in text and jsonb, NUL and lone surrogates, by U+FFFD.

    Only for the stored form: the signature counts over what was sent.
    """
    text = "".join(
        [name + (value if isinstance(value, str) else "".join(value)) for name, value in form.items()]
    )
    if not _UNSTORABLE.search(text):
        return form
    return {_replace_unstorable(name): _replace_in_value(value) for name, value in form.items()}


def _replace_in_value(value: str | list[str]) -> str | list[str]:
    return (
        _replace_unstorable(value)
        if isinstance(value, str)
        else [_replace_unstorable(each) for each in value]
    )


def _replace_unstorable(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def sign_request(token: str, url: str, form: Form) -> str:
    """Return the `X-Twilio-Signature` of a form posted to the URL as it stands; its fragment takes no part."""
    return _sign(token, url.partition("#")[0] + _join_parameters(form)).decode("ascii")


def is_signature_valid(tokens: Sequence[str], url: str, form: Form, signature: str) -> bool:
    """Tell whether the provider signed this form for this URL with any of the tokens.

    Source: twilio.request_validator, which also takes the URL with the standard port or without any.
    """
    return _is_any_valid(tokens, _list_signed_urls(url), _join_parameters(form), signature)


def is_json_signature_valid(tokens: Sequence[str], url: str, body: bytes, signature: str) -> bool:
    """Tell whether the provider signed this URL and its query's `bodySHA256` is that of the body."""
    hashes = parse_qs(urlsplit(url).query).get("bodySHA256")
    if not hashes:
        return False
    is_body_intact = _is_equal(hashlib.sha256(body).hexdigest().encode("ascii"), hashes[0])
    return _is_any_valid(tokens, _list_signed_urls(url), "", signature) and is_body_intact


def _is_any_valid(tokens: Sequence[str], urls: Iterable[str], parameters: str, signature: str) -> bool:
    return any(_is_equal(_sign(token, url + parameters), signature) for url in urls for token in tokens)


def _is_equal(expected: bytes, given: str) -> bool:
    return hmac.compare_digest(expected, given.encode("utf-8", "replace"))


def _sign(token: str, text: str) -> bytes:
    # surrogatepass: a signature over text that has no UTF-8 form is wrong, but it must not raise
    digest = hmac.digest(token.encode("utf-8"), text.encode("utf-8", "surrogatepass"), "sha1")
    return base64.b64encode(digest)


def _join_parameters(form: Form) -> str:
    return "".join(
        [
            name + value if isinstance(value, str) else "".join([name + each for each in sorted(set(value))])
            for name, value in sorted(form.items(), key=_first)
        ]
    )


def _first(item: tuple[str, str | list[str]]) -> str:
    return item[0]


def _list_signed_urls(url: str) -> tuple[str, str]:
    """Return the URL as it stands and its twin: without its port, or with the standard one."""
    if usual := _ORDINARY_URL.match(url):
        scheme, host, port, rest = usual.groups()
        twin_port = "" if port else (":443" if scheme == "https" else ":80")
        return url, f"{scheme}://{host}{twin_port}{rest}"
    parts = urlparse(url.partition("#")[0])
    if parts.port:
        twin = parts.netloc.split(":")[0]
    else:
        twin = f"{parts.netloc}:{443 if parts.scheme == 'https' else 80}"
    return parts.geturl(), parts._replace(netloc=twin).geturl()
